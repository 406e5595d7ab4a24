package rules

// personFields are fields of an audience about purchases, phones and places.
var personFields = []Field{
	{Path: "purchases_total.*", Type: Number, Description: "Likewise in one currency, such as purchases_total.EUR; absent when nothing was bought in it"},
	{Path: "first_purchase_at", Type: Time, Description: "When the first of these was made"},
	{Path: "last_purchase_value", Type: Number, Description: "What the last of these was worth, less refunds, in its own currency"},

	{Path: "redemptions_count", Type: Number, Description: "Codes of offers that the person redeemed at tills, in total; voided ones do not count"},
	{Path: "last_redemption_at", Type: Time, Description: "When the last of these was redeemed"},
	{Path: "redeemed.*", Type: Number, Description: "Codes of one offer, by its id, that the person redeemed; 0 where none were"},

	{Path: "affinity.category.*", Type: Number, Description: "How strongly the person turns to a category, its name in lower case: from 1.25 on it is one of their affinities, looking at it counts 1, buying 5, and all of it halves every 30 days. Absent: not at all. Needs the profiling consent"},
	{Path: "affinity.brand.*", Type: Number, Description: "Likewise to a brand"},
	{Path: "affinity.topic.*", Type: Number, Description: "Likewise to a topic"},

	{Path: "identifier_kinds", Type: Strings, Description: `What the person is known by, such as "user_id" and "email"`},

	{Path: "devices_count", Type: Number, Description: "Phones and browsers with an app of yours"},
	{Path: "push_reachable", Type: Bool, Description: "Whether some phone of theirs may show notifications and has a push token that lives"},
	{Path: "notifications_granted", Type: Bool, Description: "Whether some phone of theirs may show notifications, provisionally or not"},
	{
		Path: "location_permissions", Type: Strings, Description: "When the apps on the person's phones may know their position",
		Values: []string{"none", "when_in_use", "always"},
	},
	{Path: "app_version.android", Type: Version, Description: "Version of the app on the person's Android phones, the highest"},
	{Path: "app_version.ios", Type: Version, Description: "Likewise on iPhones"},
	{Path: "app_version.web", Type: Version, Description: "Likewise in browsers"},
	{Path: "os_version.android", Type: Version, Description: "Version of Android on the person's phones, the highest"},
	{Path: "os_version.ios", Type: Version, Description: "Likewise of iOS"},

	{Path: "visited.*.visits", Type: Number, Description: "Visits to a place, by its id, in the last 110 to 120 days. 0 where there were none; absent where the person does not agree to profiling and to location, and of a place that is no more. Of a person the 150 places that they visit most are known"},
	{Path: "visited.*.last_at", Type: Time, Description: "When the newest of these began"},
	{Path: "visited_tag.*.visits", Type: Number, Description: "Visits to all places together that have a tag now, likewise"},
	{Path: "visited_tag.*.last_at", Type: Time, Description: "When the newest of these began"},
}
