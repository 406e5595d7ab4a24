package rules

// EventSchema is what a campaign's trigger may ask about the event that fires it. A
// member of an object in an object is asked for by its path, "properties.cart.total".
// Values of lists cannot be asked about.
//
// Entering or leaving a segment, once there are such, is to have a schema of its own
// beside this one: a trigger asks about what it saw, the audience about the person.
func EventSchema() *Schema { return eventSchema }

var eventSchema = func() *Schema {
	s := NewSchema(Field{Path: "properties.*", Type: Scalar, Description: "A property of the event"})
	const person, moment = "it belongs to the person: put it into the audience rule", "it belongs to the moment: put it into the context rule"
	s.hints["attributes."] = person
	for _, f := range PersonSchema(nil).fields {
		s.hints[f.Path] = person
	}
	for _, family := range []string{"weather.", "place.", "local.", "device."} {
		s.hints[family] = moment
	}
	s.hints["trigger.properties."] = "here it is called properties.NAME"
	return s
}()
