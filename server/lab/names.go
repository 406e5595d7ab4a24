package lab

// trade is what a shop deals in: its tags, the first of which is its main topic,
// and the nouns that end its name.
type trade struct {
	tags  []string
	nouns []string
}

// trades is dealt round robin, so that every town of six shops has each of the
// first six.
func trades() []trade {
	return []trade{
		{[]string{"fashion"}, []string{"Tailors", "Clothing", "Boutique", "Threads"}},
		{[]string{"food"}, []string{"Market", "Grocers", "Delicatessen"}},
		{[]string{"books", "stationery"}, []string{"Books", "Bookshop", "Paper"}},
		{[]string{"sport", "fashion"}, []string{"Sports", "Running", "Outdoor"}},
		{[]string{"fashion", "shoes"}, []string{"Shoes", "Cobblers", "Leather"}},
		{[]string{"coffee", "food"}, []string{"Coffee", "Roasters", "Café"}},
		{[]string{"music", "electronics"}, []string{"Records", "Sound", "Instruments"}},
		{[]string{"garden"}, []string{"Garden", "Flowers", "Seeds"}},
		{[]string{"beauty", "fashion"}, []string{"Perfumery", "Cosmetics"}},
		{[]string{"toys"}, []string{"Toys", "Games"}},
		{[]string{"electronics"}, []string{"Electronics", "Cameras"}},
		{[]string{"food", "bakery"}, []string{"Bakery", "Patisserie"}},
	}
}

// topics that people like or dislike: the main topics of the trades.
func topics() []string {
	return []string{"fashion", "food", "books", "sport", "coffee", "music", "garden", "beauty", "toys", "electronics"}
}

func firstNames() []string {
	return []string{
		"Ada", "Amir", "Anouk", "Bela", "Carlos", "Chidi", "Clara", "Dario", "Elif", "Emma", "Farid", "Femke",
		"Greta", "Hana", "Hugo", "Ines", "Ivo", "Jana", "Jonas", "Kaito", "Katya", "Lars", "Leila", "Lin",
		"Lucia", "Malik", "Mara", "Mateo", "Mei", "Milan", "Nadia", "Nils", "Noor", "Olga", "Omar", "Paula",
		"Priya", "Rafael", "Ravi", "Rosa", "Sami", "Sanne", "Sofia", "Tariq", "Tess", "Tomas", "Yara", "Zoe",
	}
}

func lastNames() []string {
	return []string{
		"Abara", "Adler", "Almeida", "Bakker", "Bauer", "Berg", "Bianchi", "Castro", "Chen", "Costa", "Dekker", "Demir",
		"Diallo", "Farkas", "Ferrari", "Fischer", "Gomez", "Haddad", "Hansen", "Ito", "Jansen", "Kaya", "Keller", "Khan",
		"Kovacs", "Larsen", "Laurent", "Lopez", "Meyer", "Mori", "Mulder", "Nguyen", "Novak", "Okafor", "Okoye", "Olsen",
		"Patel", "Petrov", "Rossi", "Sato", "Silva", "Singh", "Smit", "Tanaka", "Visser", "Weber", "Yilmaz", "Zhang",
	}
}

func streetNames() []string {
	return []string{
		"Acorn", "Alder", "Anchor", "Apple", "Ash", "Baker", "Beacon", "Beech", "Bell", "Birch", "Bridge", "Brook",
		"Canal", "Cedar", "Chapel", "Cherry", "Chestnut", "Church", "Clover", "Copper", "Elm", "Falcon", "Fern", "Field",
		"Fisher", "Forge", "Fountain", "Garden", "Hazel", "Heron", "Hill", "Holly", "Ivy", "Juniper", "Kiln", "Lantern",
		"Lark", "Laurel", "Lime", "Linden", "Maple", "Market", "Meadow", "Mill", "Mulberry", "Oak", "Orchard", "Park",
		"Pear", "Pine", "Plum", "Poplar", "Quarry", "Quay", "River", "Rose", "Rowan", "Sail", "School", "Spring",
		"Station", "Swan", "Tanner", "Thistle", "Tower", "Vine", "Walnut", "Weaver", "Well", "Willow", "Windmill", "Yew",
	}
}
