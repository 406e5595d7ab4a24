package tokens_test

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/footfall-engage/footfall/server/engage"
	"github.com/footfall-engage/footfall/server/tokens"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

var android = tokens.Options{Platform: "android", Providers: []string{"fcm"}, Old: tokens.Warn, Now: now}

func ios() tokens.Options {
	return tokens.Options{Platform: "ios", Providers: []string{"apns", "fcm"}, Old: tokens.Warn, Now: now}
}

func read(t *testing.T, text string, o tokens.Options) []*tokens.Row {
	t.Helper()
	r, err := tokens.NewReader(strings.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	var out []*tokens.Row
	for {
		row, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, row)
	}
}

// words is a row for comparisons.
func words(row *tokens.Row) string {
	if row.Err != nil {
		return fmt.Sprintf("%d refused: %s", row.Number, row.Err)
	}
	s := fmt.Sprintf("%d %s/%s %s %s:%s %s %s", row.Number, row.User, row.Install, row.Platform, row.Push.Provider, row.Push.Token.Reveal(),
		row.Push.At.Format(time.RFC3339), row.Notifications)
	if row.Push.Environment+row.Push.Topic != "" {
		s += " " + row.Push.Environment + " " + row.Push.Topic
	}
	for _, w := range row.Warnings {
		s += "; " + w.Field + " " + w.Reason
	}
	return s
}

func TestTablesAndLinesOfJSONAreRead(t *testing.T) {
	apns := strings.Repeat("0a", 32)
	for _, c := range []struct {
		name string
		text string
		o    tokens.Options
		want []string
	}{
		{
			"a table", "\ufeffUser ID,Token,Last Seen,Colour\nada,tok:1,2026-11-20T10:00:00+01:00,red\n\n\"b,ob\",tok2,1795000000,\n", android,
			[]string{"2 ada/ android fcm:tok:1 2026-11-20T09:00:00Z granted", "4 b,ob/ android fcm:tok2 2026-11-18T11:06:40Z granted"},
		},
		{
			"semicolons, and both times", "install_id;token;registered_at;last_seen;platform;notifications\r\ninstall-1;t;2026-01-01;2026-11-21 08:00:00;Android;Provisional\r\n", android,
			[]string{"2 /install-1 android fcm:t 2026-11-21T08:00:00Z provisional"},
		},
		{
			"iOS", "external_id\ttoken\tprovider\tenvironment\ttopic\tregistered_at\nada\t" + apns + "\t\tSandbox\tcom.shop\t2026-11-01\nbob\tf:1\tfcm\tsandbox\tx\t2026-11-01", ios(),
			[]string{"2 ada/ ios apns:" + apns + " 2026-11-01T00:00:00Z granted sandbox com.shop", "3 bob/ ios fcm:f:1 2026-11-01T00:00:00Z granted"},
		},
		{
			"JSON", `{"user_id":"ada","token":"t","registered_at":1795000000000,"tags":[1]}` + "\n" + `{"user_id":7,"token":"t","registered_at":1795000000}`, android,
			[]string{"1 ada/ android fcm:t 2026-11-18T11:06:40Z granted", "2 7/ android fcm:t 2026-11-18T11:06:40Z granted"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, row := range read(t, c.text, c.o) {
				got = append(got, words(row))
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestARowThatIsWrongSaysWhyAndStopsNoOther(t *testing.T) {
	header := "user_id,install,platform,provider,token,environment,registered_at,notifications\n"
	for _, c := range []struct {
		row, want string
		o         tokens.Options
	}{
		{",,,,t,,2026-11-01,", "invalid: user_id: is missing, and so is install", android},
		{strings.Repeat("ü", 101) + ",,,,t,,2026-11-01,", "invalid: user_id: must have 1 to 100", android},
		{"\"a\x01\",,,,t,,2026-11-01,", "invalid: user_id", android},
		{",short,,,t,,2026-11-01,", "invalid: install: must be 8 to 100", android},
		{"ada,,ios,,t,,2026-11-01,", `invalid: platform: must be "android", which is the app's, is "ios"`, android},
		{"ada,,,sms,t,,2026-11-01,", `invalid: provider: must be "fcm" or "apns"`, android},
		{"ada,,,apns,t,,2026-11-01,", "invalid: provider: the app has no credential for apns", android},
		{"ada,,,,,,2026-11-01,", "invalid: token: is missing", android},
		{"ada,,,,a b,,2026-11-01,", "invalid: token: is not one of FCM", android},
		{"ada,,,," + strings.Repeat("x", 5000) + ",,2026-11-01,", "invalid: token: at most 4096 bytes, has 5000", android},
		{"ada,,,," + strings.Repeat("x", 20000) + ",,2026-11-01,", "too_large: row: has more than 16384 bytes", android},
		{"ada,,,," + strings.Repeat("x", 60000) + ",,2026-11-01,", "too_large: row: has more than 16384 bytes", android},
		{"ada,,,,xyz,,2026-11-01,", "invalid: token: is not one of APNs", ios()},
		{"ada,,,," + strings.Repeat("0a", 32) + ",test,2026-11-01,", `invalid: environment: must be "production" or "sandbox"`, ios()},
		{"ada,,,,t,,,", "invalid: registered_at: is missing, and so is last_seen", android},
		{"ada,,,,t,,yesterday,", "invalid: registered_at: must be a time", android},
		{"ada,,,,t,,12,", "invalid: registered_at: must be a time", android},
		{"ada,,,,t,,2027-01-01,", "invalid: registered_at: stands in the future", android},
		{"ada,,,,t,,2026-11-01,yes", "invalid: notifications: must be", android},
		{"ada,,,,t,,2026-11-01", "invalid: row: has 7 cells, the header 8", android},
		{`ada,,,,"t,,2026-11-01,`, "invalid: row: is not a row of a table", android},
		{`ada,,,,t"x,,2026-11-01,`, "invalid: row: is not a row of a table", android},
	} {
		rows := read(t, header+c.row+"\nada,,,,"+strings.Repeat("0a", 32)+",,2026-11-22,\n", c.o)
		if len(rows) != 2 || rows[1].Err != nil || rows[1].Number != 3 {
			t.Errorf("%.80s: the next row is lost: %d rows", c.row, len(rows))
			continue
		}
		if e := rows[0].Err; e == nil || !strings.HasPrefix(e.Error(), c.want) || rows[0].Push.Token != "" || rows[0].Number != 2 {
			t.Errorf("%.80s: %v, want %s", c.row, e, c.want)
		}
		if strings.Contains(fmt.Sprint(rows[0].Err), strings.Repeat("x", 100)) {
			t.Errorf("%.80s: the token stands in the report", c.row)
		}
	}
	for text, want := range map[string]string{
		`{"user_id":"a","token":["t"],"registered_at":"2026-11-01"}`:                      "invalid: token: must be a text, is a list",
		`{"user_id":"a","external_id":"b","token":"t","registered_at":"2026-11-01"}`:      "invalid: user_id: stands twice",
		`{"user_id":"a","token":"t"`:                                                      "invalid: row: is not a JSON object",
		`{"user_id":"a","token":null,"registered_at":"2026-11-01"}`:                       "invalid: token: is missing",
		`{"user_id":{"a":1},"install":"install-1","token":"t","last_seen":"2026-11-01"}`:  "invalid: user_id: must be a text, is an object",
		`{"user_id":"a","token":"t","registered_at":1e30}`:                                "invalid: registered_at: must be a time",
		`{"user_id":"a","token":"t","registered_at":"2026-11-01"} {"user_id":"a"}`:        "invalid: row: is not a JSON object",
		`{"user_id":true,"install":"install-1","token":"t","registered_at":"2026-11-01"}`: "invalid: user_id: must be a text, is true or false",
	} {
		if rows := read(t, text, android); len(rows) != 1 || rows[0].Err == nil || !strings.HasPrefix(rows[0].Err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, rows[0].Err, want)
		}
	}
}

func TestAFileThatIsNoneIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "invalid: header: is missing",
		"\n\n":                          "invalid: header: is missing",
		"user_id,registered_at\n":       "invalid: header: has no column token",
		"token,registered_at\n":         "invalid: header: has neither a column user_id nor install",
		"token,user_id\n":               "invalid: header: has neither a column registered_at nor last_seen",
		"token,token,user_id\n":         "invalid: header: has two columns for token",
		"\"token,user_id\n":             "invalid: header: cannot be read",
		strings.Repeat("token,", 9_000): "too_large: header",
	} {
		if _, err := tokens.NewReader(strings.NewReader(text), android); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
}

func TestOldTokensAreFlaggedOrRefused(t *testing.T) {
	token := strings.Repeat("0a", 32)
	for _, c := range []struct {
		platform string
		days     int
		old      tokens.Old
		want     string // "", "warned", "refused"
	}{
		{"android", 29, tokens.RefuseStale, ""},
		{"android", 31, tokens.Warn, "warned"},
		{"android", 31, tokens.RefuseExpired, "warned"},
		{"android", 31, tokens.RefuseStale, "refused"},
		{"android", 271, tokens.Warn, "warned"},
		{"android", 271, tokens.RefuseExpired, "refused"},
		{"android", 271, tokens.RefuseStale, "refused"},
		{"ios", 31, tokens.RefuseStale, ""},
		{"ios", 271, tokens.Warn, "warned"},
		{"ios", 271, tokens.RefuseExpired, "warned"}, // Apple's do not expire by age
		{"ios", 271, tokens.RefuseStale, "refused"},
	} {
		o := tokens.Options{Platform: c.platform, Providers: []string{"fcm", "apns"}, Old: c.old, Now: now}
		rows := read(t, "user_id,token,last_seen\nada,"+token+","+now.AddDate(0, 0, -c.days).Format(time.RFC3339), o)
		got := ""
		switch row := rows[0]; {
		case row.Err != nil && row.Err.Code == tokens.TooOld:
			got = "refused"
		case row.Err != nil:
			got = row.Err.Error()
		case len(row.Warnings) > 0:
			got = "warned"
		}
		if got != c.want {
			t.Errorf("%s, %d days, %s: %q, want %q", c.platform, c.days, c.old, got, c.want)
		}
		var r tokens.Report
		r.Count(rows[0])
		if (r.Stale == 1) != (c.want != "") || r.Read != 1 || r.Taken+r.Refused != 1 {
			t.Errorf("counted %+v", r)
		}
	}
}

// rowsOf gives n rows without holding them.
type rowsOf struct {
	n, i int
	rest []byte
}

func (r *rowsOf) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.i > r.n {
			return 0, io.EOF
		}
		line := "user_id,token,last_seen\n"
		if r.i > 0 {
			line = fmt.Sprintf("user-%d,token-%d-%s,2026-11-20T10:00:00Z\n", r.i, r.i, strings.Repeat("x", 120))
		}
		r.i++
		r.rest = []byte(line)
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func TestAFileOfAnySizeTakesTheMemoryOfARow(t *testing.T) {
	const n = 200_000
	r, err := tokens.NewReader(&rowsOf{n: n}, android)
	if err != nil {
		t.Fatal(err)
	}
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most, read := live(), uint64(0), 0
	for ; ; read++ {
		row, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || row.Err != nil {
			t.Fatal(err, row.Err)
		}
		if read%50_000 == 49_999 {
			most = max(most, live())
		}
	}
	if read != n {
		t.Errorf("%d rows", read)
	}
	if most > before+2<<20 {
		t.Errorf("%d bytes are live in the middle of %d rows, %d before", most, n, before)
	}
}

func FuzzReader(f *testing.F) {
	f.Add("user_id,token,last_seen\nada,t,2026-11-20\n")
	f.Add(`{"user_id":"ada","token":"t","last_seen":1795000000}` + "\n{}\n[]\n")
	f.Add("install;token;registered_at\n\"a\"\"b;\";x\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := tokens.NewReader(strings.NewReader(text), android)
		if err != nil {
			if !errors.As(err, new(*engage.Error)) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		last := 0
		for {
			row, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if row.Number <= last || (row.Err == nil) != (row.Push.Token != "") || row.Err == nil && row.Push.At.After(now) {
				t.Fatalf("after row %d: %+v", last, row)
			}
			last = row.Number
		}
	})
}
