// Package tokens reads push tokens that were collected elsewhere, from a table or from
// lines of JSON, one row at a time: a file of any size takes the memory of a row.
//
// # Fields
//
//	user_id          whose phone it is, as the app's users are called; also external_user_id, external_id
//	install          id of the install, where the app is Footfall's already; also install_id, device_id
//	platform         android, ios, web; absent: the app's
//	provider         fcm, apns; absent: apns for ios, else fcm
//	token            the token
//	environment      of an APNs token: production, sandbox; absent: found out with the first push
//	topic            of an APNs token: the bundle id; absent: the app's
//	registered_at    when the app gave it; one of these two is needed
//	last_seen        when the app was last heard of; also last_seen_at, updated_at
//	notifications    what the OS allows: granted, provisional, denied, undetermined; absent: granted
//
// One of user_id and install is needed. Times are RFC 3339, a date, or Unix seconds or
// milliseconds. Columns of other names are not looked at.
//
// # Age
//
// The provider forgets tokens: FCM calls one stale that was not used for a month, and
// expires it after 270 days on Android. A row's age is that of the later of its two
// times; Options.Old says what becomes of rows that are too old.
package tokens
