package engage

// Sample is what texts see of an example of the catalogue's items: its id, the declared
// fields, each with a value of its type, and the currency where there is one. Of a field of
// type string it is what text gives for the field's name; the others are as short as they
// come. The map is the caller's.
func (c *Catalogue) Sample(id string, text func(field string) string) map[string]any {
	out := make(map[string]any, len(c.Fields)+2)
	for name, t := range c.Fields {
		switch t {
		case FieldNumber, FieldMoney:
			out[name] = 1.0
		case FieldBool:
			out[name] = true
		case FieldTime:
			out[name] = "2026-02-01T00:00:00Z"
		case FieldURL:
			out[name] = "a:b"
		case FieldImage:
			out[name] = "https://a"
		case FieldStrings:
			out[name] = []any{"a"}
		case FieldString:
			out[name] = text(name)
		}
	}
	out["id"] = id
	if _, own := out["currency"]; own {
		out["currency"] = "EUR" // which the filter money takes
	}
	if c.Currency != "" {
		out["currency"] = c.Currency
	}
	return out
}
