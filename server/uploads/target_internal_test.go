package uploads

import (
	"strings"
	"testing"
)

// What a file calls an attribute is what rules and templates can write.
func TestColumnsBecomeAttributesThatRulesCanName(t *testing.T) {
	for column, want := range map[string]string{
		"Shoe size": "Shoe_size", " city ": "city", "Müsli": "Musli", "user.name": "user_name", "is vip?": "is_vip", "a-b_c": "a-b_c",
		"القاهرة": "", "": "", strings.Repeat("x", 101): "",
	} {
		g := guess(People, column, nil)
		if want == "" && g.field != ignored || want != "" && (g.field != "attributes" || g.name != want) {
			t.Errorf("%q becomes %+v, want %q", column, g, want)
		}
	}
	if _, err := parseTarget(People, "attributes.shoe size"); err == nil {
		t.Error("a mapping to a name that rules cannot write is taken")
	}
	if g := guess(Events, "shoe size", nil); g.field != "properties" || g.name != "shoe size" {
		t.Errorf("a property is %+v", g)
	}
}
