package uploads_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/rules"
	"github.com/footfall-engage/footfall/server/uploads"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

var declared = map[string]rules.Type{"city": rules.String, "points": rules.Number, "vip": rules.Bool, "born": rules.Time, "sizes": rules.Strings}

func look(t *testing.T, kind uploads.Kind, m uploads.Mapping, text string) *uploads.Preview {
	t.Helper()
	p, err := uploads.Look(strings.NewReader(text), uploads.Previewing{Kind: kind, Mapping: m, Declared: declared, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func zipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	return b.String()
}

func TestRowsAreWhatTheirColumnsSay(t *testing.T) {
	for _, c := range []struct {
		name string
		kind uploads.Kind
		m    uploads.Mapping
		text string
		want []string // rows as JSON
	}{
		{
			"people, guessed", uploads.People, nil,
			"\ufeffUser ID;E-Mail;city;points;vip;born;sizes;Zip;Likes;updated_at;likes tea\n" +
				"ada;Ada@Example.com;Delft;12.5;yes;1700-02-03;s|m;02611;tea|art;2026-11-01T10:00:00+01:00;x\n" +
				"مريم;;\"القاهرة 👩‍🚀; x\";;;;;;;;\n",
			[]string{
				`{"row":2,"identifiers":["user_id:ada","email:ada@example.com"],"at":"2026-11-01T09:00:00Z","attributes":{"Zip":"02611","born":"1700-02-03T00:00:00Z","city":"Delft","likes_tea":"x","points":12.5,"sizes":["s","m"],"vip":true},"preferences":{"art":"like","tea":"like"}}`,
				`{"row":3,"identifiers":["user_id:مريم"],"at":"2026-11-22T12:00:00Z","attributes":{"city":"القاهرة 👩‍🚀; x"}}`,
			},
		},
		{
			"people, mapped", uploads.People,
			uploads.Mapping{"No": "user_id", "Card": "loyalty", "Old card": "loyalty", "OK": "consents.marketing", "Text": "consent_text_version", "When": "consents.marketing.at", "Where": "consent_source", "Meat": "preferences.meat", "Born": "attributes.born:time", "Zip": "-"},
			"No,Card,Old card,OK,Text,When,Where,Meat,Born,Zip,City\n7,c1,c2,no,v3,2026-03-02,till,dislike,-0044-03-15,1,x\n8,c3,,1,v3,1795000000,web,none,1700-01-01,1,x\n",
			[]string{
				`{"row":3,"identifiers":["user_id:8","loyalty:c3"],"at":"2026-11-22T12:00:00Z","attributes":{"born":"1700-01-01T00:00:00Z"},"preferences":{"meat":""},"consents":{"marketing":{"granted":true,"text_version":"v3","source":"web","at":"2026-11-18T11:06:40Z"}}}`,
			},
		},
		{
			"people in JSON", uploads.People, nil,
			`{"user_id":7,"traits":{"city":null,"points":3,"sizes":["s"],"new":true},"preferences":{"tea":"like"},"consents":{"profiling":{"granted":false,"text_version":"v1","at":"2026-01-01","source":"app"}}}` + "\n\n" +
				`{"identifiers":["loyalty:c1","anonymous_id:w1"],"Sizes":"a;b"}`,
			[]string{
				`{"row":1,"identifiers":["user_id:7"],"at":"2026-11-22T12:00:00Z","attributes":{"city":null,"new":true,"points":3,"sizes":["s"]},"preferences":{"tea":"like"},"consents":{"profiling":{"granted":false,"text_version":"v1","source":"app","at":"2026-01-01T00:00:00Z"}}}`,
				`{"row":3,"identifiers":["loyalty:c1","anonymous_id:w1"],"at":"2026-11-22T12:00:00Z","attributes":{"Sizes":"a;b"}}`,
			},
		},
		{
			"events", uploads.Events, nil,
			"customer_id\tevent\ttimestamp\tcategory\tprice\nada\tProduct Viewed\t2026-10-01 10:00:00\tshoes\t12.5\n",
			[]string{`{"row":2,"identifiers":["user_id:ada"],"at":"2026-10-01T10:00:00Z","event":"Product Viewed","properties":{"category":"shoes","price":12.5}}`},
		},
		{
			"events in JSON", uploads.Events, nil,
			`{"user_id":"ada","event":"Searched","occurred_at":1795000000000,"properties":{"filters":[{"a":[1]}],"n":1e3}}`,
			[]string{`{"row":1,"identifiers":["user_id:ada"],"at":"2026-11-18T11:06:40Z","event":"Searched","properties":{"filters":[{"a":[1]}],"n":1e3}}`},
		},
		{
			"purchases", uploads.Purchases, nil,
			"order_id,user_id,date,total,currency,store,products,till\nO1,ada,2026-10-01,12.5,eur,cafe,\"[{\"\"sku\"\":\"\"s1\"\",\"\"price\"\":2.5,\"\"quantity\"\":5}]\",3\n",
			[]string{`{"row":2,"identifiers":["user_id:ada"],"at":"2026-10-01T00:00:00Z","event":"Order Completed","properties":{"till":3},"order":{"id":"O1","status":"completed","value":12.5,"currency":"EUR","place":"cafe","products":[{"id":"s1","price":2.5,"quantity":5}]}}`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, text := range []string{c.text, zipped(c.text)} {
				p := look(t, c.kind, c.m, text)
				var got []string
				for _, row := range p.Rows {
					b, err := json.Marshal(row)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, string(b))
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("rows\n%s\nwant\n%s\nwrong %+v", strings.Join(got, "\n"), strings.Join(c.want, "\n"), p.Wrong)
				}
			}
		})
	}
}

func TestARowThatIsWrongSaysWhichFieldAndStopsNoOther(t *testing.T) {
	const header = "user_id,email,city,points,vip,born,sizes,ok,consent_text_version,consent_at,consent_source,updated_at\n"
	m := uploads.Mapping{
		"user_id": "user_id", "email": "email", "city": "attributes.city", "points": "attributes.points", "vip": "attributes.vip", "born": "attributes.born",
		"sizes": "attributes.sizes", "ok": "consents.marketing", "consent_text_version": "consent_text_version", "consent_at": "consent_at",
		"consent_source": "consent_source", "updated_at": "updated_at",
	}
	for _, c := range []struct{ row, want string }{
		{",,Delft,,,,,,,,,", "invalid identifiers are missing"},
		{"ada,no address,,,,,,,,,,", "invalid email must be an e-mail address"},
		{"ada,,,12;5,,,,,,,,", "attribute_type points must be a number"},
		{"ada,,,NaN,,,,,,,,", "attribute_type points must be a number"},
		{"ada,,,1e999,,,,,,,,", "attribute_type points must be a number"},
		{"ada,,,0x1p4,,,,,,,,", "attribute_type points must be a number"},
		{"ada,,,,maybe,,,,,,,", "attribute_type vip must be true or false"},
		{"ada,,,,,3.2.1700,,,,,,", "attribute_type born must be a time"},
		{"ada,," + strings.Repeat("x", 40<<10) + ",,,,,,,,,", "too_large city has more than 1024 bytes"},
		{"ada,," + strings.Repeat("\x01", 300) + ",,,,,,,,,", "too_large city with its name"},
		{"ada,,\xff\xfe,,,,,,,,,", "invalid city is not UTF-8"},
		{"ada,,,,,,[1],,,,,", "attribute_type sizes must be a list of texts"},
		{"ada,,,,,,,yes,,2026-01-01,till,", "invalid ok is a consent without the version"},
		{"ada,,,,,,,yes,v1,,till,", "invalid ok is a consent without the version"},
		{"ada,,,,,,,yes,v1,2026-01-01,,", "invalid ok is a consent without the version"},
		{"ada,,,,,,,yes,v1,2027-01-01,till,", "invalid consent_at stands in the future"},
		{"ada,,,,,,,perhaps,v1,2026-01-01,till,", "invalid ok must be true or false"},
		{"ada,,,,,,,,,,,1700-01-01", "invalid updated_at is before 1970"},
		{"ada,,,,,,,,,,,2026-12-24", "invalid updated_at stands in the future"},
		{"ada,,Delft", "invalid row has 3 cells, the header has 12"},
		{"ada,,Delft, NL,,,,,,,,,2026-01-01", "invalid row has 13 cells, the header has 12"},
		{"\"ada,,,,,,,,,,,", "invalid row has a quote that is not closed"},
		{"ada,,," + strings.Repeat("9", 1<<20) + ",,,,,,,,", "too_large row has more than"},
	} {
		p := look(t, uploads.People, m, header+"before,,,,,,,,,,,\n"+c.row+"\nafter,,,,,,,,,,,\n")
		if len(c.row) > 1<<20 { // a preview does not see so far
			continue
		}
		if len(p.Wrong) != 1 || p.Wrong[0].Row != 3 || len(p.Rows) != 2 {
			t.Errorf("%.60q: %+v, %d rows", c.row, p.Wrong, len(p.Rows))
			continue
		}
		w := p.Wrong[0]
		if got := fmt.Sprintf("%s %s %s", w.Code, w.Field, w.Reason); !strings.HasPrefix(got, c.want) {
			t.Errorf("%.60q: %s, want %s", c.row, got, c.want)
		}
		for _, said := range []string{"maybe", "perhaps", "no address", "1700-01-01"} { // a report keeps nothing of a person
			if strings.Contains(w.Reason, said) {
				t.Errorf("the reason quotes the file: %s", w.Reason)
			}
		}
	}
	long := make([]string, 21)
	for i := range long {
		long[i] = fmt.Sprintf("loyalty:%d", i)
	}
	ids, _ := json.Marshal(map[string]any{"identifiers": long})
	for _, c := range []struct {
		kind      uploads.Kind
		row, want string
	}{
		{uploads.People, string(ids), "too_large identifiers are 21"},
		{uploads.People, `{"identifiers":["phone:7"]}`, "invalid identifiers must be"},
		{uploads.People, `{"user_id":{"a":1}}`, "invalid user_id must be a text"},
		{uploads.People, `{"user_id":"ada","traits":{"points":"many"}}`, "attribute_type traits.points must be a number"},
		{uploads.People, `{"user_id":"ada","traits":{"x":{"a":1}}}`, "attribute_type traits.x must be a text, a number"},
		{uploads.People, `{"user_id":"ada"`, "invalid row is not a JSON object"},
		{uploads.People, `{"user_id":"ada"} {}`, "invalid row has something behind"},
		{uploads.People, `{"user_id":"ada","likes":["tea"],"dislikes":["tea"]}`, ""},
		{uploads.Events, `{"user_id":"ada","event":"x"}`, "invalid occurred_at is missing"},
		{uploads.Events, `{"user_id":"ada","at":"2026-01-01"}`, "invalid event is missing"},
		{uploads.Events, `{"user_id":"ada","event":"x","at":"2026-01-01","properties":{"d":` + strings.Repeat("[", 30) + strings.Repeat("]", 30) + `}}`, "invalid properties.d is nested deeper"},
		{uploads.Events, `{"user_id":"ada","event":"x","at":"2026-01-01","properties":{"d":"` + strings.Repeat("x", 70<<10) + `"}}`, "too_large row says more than"},
		{uploads.Purchases, `{"user_id":"ada","date":"2026-01-01","value":1}`, "invalid order_id is missing"},
		{uploads.Purchases, `{"user_id":"ada","order_id":"1","value":1}`, "invalid occurred_at is missing"},
		{uploads.Purchases, `{"user_id":"ada","order_id":"1","date":"2026-01-01"}`, "invalid value is missing"},
		{uploads.Purchases, `{"user_id":"ada","order_id":"1","date":"2026-01-01","value":-1}`, "invalid value must not be negative"},
		{uploads.Purchases, `{"user_id":"ada","order_id":"1","date":"2026-01-01","value":1e13}`, "invalid value must be at most 1e12"},
		{uploads.Purchases, `{"user_id":"ada","order_id":"1","date":"2026-01-01","value":1,"currency":"euro"}`, "invalid currency must be"},
		{uploads.Purchases, `{"user_id":"ada","order_id":"1","date":"2026-01-01","value":1,"status":"lost"}`, "invalid status must be"},
		{uploads.Purchases, `{"user_id":"ada","order_id":"1","date":"2026-01-01","value":1,"products":[{"price":"x"}]}`, "invalid products has a product whose price must be a number"},
	} {
		p := look(t, c.kind, nil, c.row+"\n")
		if c.want == "" {
			c.want = "invalid likes has a topic that is liked and disliked"
		}
		if len(p.Wrong) != 1 {
			t.Errorf("%.80s: %+v", c.row, p)
			continue
		}
		if got := fmt.Sprintf("%s %s %s", p.Wrong[0].Code, p.Wrong[0].Field, p.Wrong[0].Reason); !strings.HasPrefix(got, c.want) {
			t.Errorf("%.80s: %s, want %s", c.row, got, c.want)
		}
	}
}

func TestAFileThatCannotBeReadIsRefusedWhole(t *testing.T) {
	for _, c := range []struct {
		name string
		kind uploads.Kind
		m    uploads.Mapping
		text string
		want string
	}{
		{"empty", uploads.People, nil, "", "invalid: file: is empty"},
		{"blank", uploads.People, nil, " \n\n", "invalid: file: is empty"},
		{"a header alone", uploads.People, nil, "user_id,city\n", "invalid: file: has no row"},
		{"another separator", uploads.People, nil, "user_id^city\nada^Delft\n", "invalid: header: has one column only"},
		{"no identifier", uploads.People, nil, "city,points\nDelft,1\n", "invalid: header: has no column with a user_id"},
		{"a column twice", uploads.People, nil, "user_id,city,city\nada,Delft,Gouda\n", `invalid: header: has two columns "city"`},
		{"two for the same", uploads.People, uploads.Mapping{"id": "user_id", "a": "attributes.city", "b": "attributes.city:string"}, "id,a,b\n1,2,3\n", "invalid: header: has two columns for attributes.city"},
		{"10,000 columns", uploads.People, nil, "user_id" + strings.Repeat(",c", 10_000) + "\n", "too_large: header: at most 1000 columns"},
		{"UTF-16", uploads.People, nil, "\xff\xfeu\x00", "invalid: file: is UTF-16"},
		{"a workbook", uploads.People, nil, "PK\x03\x04", "invalid: file: is a ZIP archive"},
		{"a list", uploads.People, nil, `[{"user_id":"ada"}]`, "invalid: file: is a JSON list"},
		{"a column that is not there", uploads.People, uploads.Mapping{"id": "user_id", "town": "attributes.city"}, "id,city\n1,2\n", "invalid: mapping.town: the table has no such column"},
		{"a target that is none", uploads.People, uploads.Mapping{"id": "name"}, "id\n1\n", `invalid: mapping.id: is "name"`},
		{"a target of another kind", uploads.Events, uploads.Mapping{"id": "consents.marketing"}, "id\n1\n", "invalid: mapping.id: is"},
		{"a type that is none", uploads.People, uploads.Mapping{"id": "attributes.x:blob"}, "id\n1\n", `invalid: mapping.id: has the type "blob"`},
		{"a purpose that is none", uploads.People, uploads.Mapping{"id": "consents.spam"}, "id\n1\n", `invalid: mapping.id: has the purpose "spam"`},
		{"events without a time", uploads.Events, nil, "user_id,event\nada,x\n", "invalid: header: has no column with occurred_at"},
		{"compressed, and cut", uploads.People, nil, zipped("user_id,city\nada,Delft\n")[:30], "invalid: file: is cut off or damaged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := uploads.Look(strings.NewReader(c.text), uploads.Previewing{Kind: c.kind, Mapping: c.m, Declared: declared, Now: now})
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("error %v, want %s; %+v", err, c.want, p)
			}
			if err != nil && engage.CodeOf(err) == engage.Internal {
				t.Errorf("%v is nothing that a person can act on", err)
			}
		})
	}
}

func TestAPreviewOfAPartLeavesItsCutRowOut(t *testing.T) {
	text := "user_id,city\n" + strings.Repeat("ada,Delft\n", uploads.PreviewBytes/10+10)
	for _, text := range []string{text, zipped(text)} {
		p := look(t, uploads.People, nil, text[:min(len(text), uploads.PreviewBytes+5)])
		if p.Refused != 0 || p.Read != 1000 || len(p.Rows) != 10 || p.Mapping["city"] != "attributes.city" {
			t.Errorf("%d refused of %d, %d shown, %v: %+v", p.Refused, p.Read, len(p.Rows), p.Mapping, p.Wrong)
		}
	}
	cut := "user_id,city\nada,Delft\nbob," + strings.Repeat("x", 300)
	wide := strings.Repeat("pad,"+strings.Repeat("y", 900)+"\n", uploads.PreviewBytes/905)
	p := look(t, uploads.People, nil, "user_id,city\n"+wide+cut)
	if p.Refused != 0 || p.Read < 900 {
		t.Errorf("%d refused of %d: %+v", p.Refused, p.Read, p.Wrong)
	}
}

// A mapping does not make another type of an attribute: such a cell is refused here, where
// the report says so, and not later.
func TestAMappingDoesNotChangeAnAttributesType(t *testing.T) {
	p, err := uploads.Look(strings.NewReader("user_id,score\nada,9\nben,\n"), uploads.Previewing{
		Kind: uploads.People, Mapping: uploads.Mapping{"user_id": "user_id", "score": "attributes.points:string"}, Declared: declared, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Wrong) != 1 || p.Wrong[0].Code != engage.AttributeType || !strings.Contains(p.Wrong[0].Reason, `is mapped as string, but the attribute "points" is number here`) {
		t.Errorf("wrong are %+v", p.Wrong)
	}
}
