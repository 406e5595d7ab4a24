package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// asked is what the server was asked.
type asked struct{ method, uri, key, workspace, body string }

// remoteServer answers as the API does, and keeps what it was asked.
func remoteServer(t *testing.T) (string, *[]asked) {
	t.Helper()
	var all []asked
	answers := map[string]string{
		"POST /api/v1/keys":         `{"id":"k1","name":"console","role":"viewer","token":"ffk_fresh"}`,
		"GET /api/v1/keys":          `{"items":[{"id":"k1","name":"console","role":"viewer","updated_at":"2026-03-02T09:30:00Z"}],"next":"c&2"}`,
		"GET /api/v1/keys?c&2":      `{"items":[{"id":"k2","name":"second page","role":"admin","updated_at":"2026-03-02T09:30:00Z"}]}`,
		"DELETE /api/v1/keys/k%2F1": "",
		"GET /api/v1/people/user_id:ada/explain?campaign=rainy+day": `{"answer":"She said no.","hints":["It is paused."],"decisions":[
			{"at":"2026-03-02T09:30:00Z","moment":"Entered Café","words":"Not sent.","gates":[{"gate":"consent","ok":true,"words":"Agreed."},{"gate":"cap","ok":false,"words":"Had 1 of 1."}]}]}`,
		"GET /api/v1/people/user_id:ada/timeline?class=purchases&from=2026-03-01T00%3A00%3A00Z&to=2026-03-02T12%3A00%3A00%2B01%3A00": `{"items":[{"at":"2026-03-02T09:30:00Z","occurred_at":"2026-02-14T19:05:00+01:00","class":"purchases","kind":"touch","words":"Order Completed"}],"next":"c7"}`,
		"GET /api/v1/people/user_id:ada/timeline?c7": `{"items":[{"at":"2026-03-01T09:30:00Z","occurred_at":"2026-03-01T09:30:00.4Z","class":"purchases","kind":"touch","words":"Order Refunded"},{"at":"2026-03-01T09:00:00Z","words":"one too many"}]}`,
		"POST /api/v1/places?dry_run=true&hours=refuse&map=id%3ANo%2Cname%3AStore+Name&radius=75": `{"row":2,"place":"a","outcome":"created","warnings":[{"field":"Zone","reason":"is no zone"}]}
{"row":3,"outcome":"refused","error":{"code":"invalid","field":"lat","reason":"must be a number"}}
{"dry_run":true,"read":3,"created":1,"changed":1,"refused":1,"warned":1,"zones_found":1,"rows":[]}`,
		"POST /api/v1/places?hours=warn&radius=100": `{"read":3,"created":3,"rows":[],"error":{"code":"invalid","reason":"is not JSON at byte 7"}}`,
		"GET /api/v1/places?limit=200":              `{"items":[{"id":"a","name":"A","geofences":[{"id":"f","ring":"inside","geometry":{"type":"Point","coordinates":[4.9,52.1]},"radius":50}]}],"next":"c3"}`,
		"GET /api/v1/places?c3":                     `{"items":[{"id":"b","name":"B, b","hours":"24/7","geofences":[{"id":"g","ring":"near","geometry":{"type":"Point","coordinates":[5,52]},"radius":60}]}]}`,
		"POST /api/v1/apps/shop/test-send":          `{"provider":"fcm","outcome":"accepted","provider_id":"projects/p/messages/1","status":200,"raw":"{\"name\":\"projects/p/messages/1\"}","took_ms":12.4,"words":"The provider took it.","title":"Hello","body":"You","warnings":[{"field":"content.body","reason":"lacks x"}]}`,
		"POST /api/v1/apps/dead/test-send":          `{"provider":"apns","outcome":"token_gone","reason":"Unregistered","status":410,"took_ms":3,"words":"The token is dead.","title":"Hello","warnings":[]}`,
		"POST /api/v1/apps/shop/push-tokens?dry_run=true&old=refuse_stale": `{"row":2,"outcome":"taken","warnings":[{"field":"last_seen","reason":"is 40 days ago"}]}
{"row":3,"outcome":"refused","error":{"code":"invalid","field":"token","reason":"is missing"}}
{"dry_run":true,"read":3,"taken":2,"refused":1,"warned":1,"stale":1,"rows":[]}`,
		"GET /api/v1/channels": `{"items":[{"app":"shop","provider":"fcm","account":"demo","state":"ok","live":{"waiting":2},"bulk":{"waiting":7},"sent_per_s":1.25,"rate_per_s":100},
			{"app":"shop","provider":"apns","account":"T/K","state":"paused","reason":"InvalidProviderToken","since":"2026-03-02T09:30:00Z","live":{"waiting":1},"bulk":{"waiting":0},"alert":"Mend it"}],"alerts":1}`,
		"GET /api/v1/apps":                         `{"items":[{"id":"shop","platform":"android","version":3,"fcm":{"project_id":"demo"},"apns":{"team_id":"T","key_id":"K"}}],"next":"c6"}`,
		"GET /api/v1/apps?c6":                      `{"items":[{"id":"web","platform":"web","version":1}]}`,
		"GET /api/v1/apps/shop":                    `{"id":"shop","platform":"android","version":3,"fcm":{"project_id":"demo"}}`,
		"PUT /api/v1/apps/shop/credentials":        `{"id":"shop","platform":"android","version":4,"fcm":{"project_id":"demo"},"apns":{"team_id":"T","key_id":"K"}}`,
		"DELETE /api/v1/apps/shop/credentials/fcm": "",
		"GET /api/v1/webhooks":                     `{"items":[{"id":"crm","name":"CRM","status":"enabled","url":"https://crm.example.com/f","health":{"waiting":3,"dead_letters":2,"failing_since":"2026-03-02T09:30:00Z"}}],"next":"c4"}`,
		"GET /api/v1/webhooks?c4":                  `{"items":[{"id":"till","status":"paused","url":"https://till.example.com","health":{"waiting":0,"dead_letters":0}}]}`,
		"GET /api/v1/webhooks/crm": `{"id":"crm","version":7,"name":"CRM","url":"https://crm.example.com/f","status":"disabled","disabled_because":"gone","types":["footfall.conversion","footfall.visit.ended"],"tags":["mall"],"header_names":["Authorization"],"batch":50,
			"secrets":[{"id":"s1","created_at":"2026-03-02T09:30:00Z"}],"health":{"waiting":3,"dead_letters":2,"last_failure":{"at":"2026-03-02T09:31:00Z","status":410,"reason":"http_410","body":"gone\u001b[2J"}}}`,
		"PUT /api/v1/webhooks/crm":                       `{"id":"crm","version":8,"status":"enabled","url":"x","secrets":[{"id":"s1"}]}`,
		"PUT /api/v1/webhooks/new":                       `{"id":"new","version":1,"status":"enabled","url":"x","secrets":[{"id":"s9","secret":"whsec_fresh"}]}`,
		"DELETE /api/v1/webhooks/c%2Fm":                  "",
		"POST /api/v1/webhooks/crm/test":                 `{"event":"e1","outcome":"accepted","answer":{"took_ms":12,"status":204}}`,
		"POST /api/v1/webhooks/dead/test":                `{"event":"e2","outcome":"retry_after","answer":{"took_ms":3,"reason":"connect","body":"refused"}}`,
		"POST /api/v1/webhooks/crm/secrets":              `{"id":"s2","secret":"whsec_second"}`,
		"DELETE /api/v1/webhooks/crm/secrets/s1":         "",
		"GET /api/v1/webhooks/crm/dead-letters":          `{"items":[{"event":"e1","type":"footfall.conversion","why":"refused","time":"2026-03-02T09:30:00Z","died_at":"2026-03-02T09:31:00Z","attempts":4,"data":{"x":1},"last_answer":{"status":400,"reason":"http_400","body":"no"}}],"next":"c5"}`,
		"GET /api/v1/webhooks/crm/dead-letters?c5":       `{"items":[{"event":"e2","type":"footfall.conversion","why":"disabled","attempts":0}]}`,
		"POST /api/v1/webhooks/crm/dead-letters/retry":   `{"count":5}`,
		"DELETE /api/v1/webhooks/crm/dead-letters":       `{"count":6}`,
		"DELETE /api/v1/webhooks/crm/dead-letters/e%2F1": "",
		"GET /api/v1/quarantine":                         `{"items":[{"id":"q1","kind":"trigger","at":"2026-03-02T09:30:00Z","reason":"it panicked"}]}`,
		"POST /api/v1/quarantine/retry":                  "",
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		all = append(all, asked{r.Method, r.RequestURI, r.Header.Get("Authorization"), r.Header.Get("Footfall-Workspace"), string(body)})
		uri := r.RequestURI
		if cursor := r.URL.Query().Get("cursor"); cursor != "" {
			uri = r.URL.EscapedPath() + "?" + cursor
		}
		answer, known := answers[r.Method+" "+uri]
		switch {
		case r.Header.Get("Authorization") != "Bearer ffk_key":
			w.WriteHeader(http.StatusUnauthorized)
			answer = `{"title":"Unauthorized","detail":"the key is not in force"}`
		case r.URL.Path == "/api/v1/people/broken/explain":
			w.WriteHeader(http.StatusBadGateway)
			answer = "<html>"
		case r.Method == http.MethodGet && r.URL.Path == "/api/v1/webhooks/new":
			w.WriteHeader(http.StatusNotFound)
			answer = `{"title":"Not Found","detail":"there is no webhook \"new\""}`
		case !known:
			w.WriteHeader(http.StatusUnprocessableEntity)
			answer = `{"title":"Unprocessable Entity","errors":[{"location":"body.role","message":"must be known"}]}`
		case answer == "":
			w.WriteHeader(http.StatusNoContent)
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	return s.URL, &all
}

func TestWhatTheCommandLineAnswers(t *testing.T) {
	url, all := remoteServer(t)
	folder := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keyFile := file("key", "ffk_key\n")
	good := file("good.yaml", fmt.Sprintf("data_dir: %q\n", folder))
	bad := file("bad.yaml", "date_dir: x\n")
	table, geojson := file("shops.csv", "No,Store Name\n"), file("shops.geojson", "{}")
	at := []string{"--server", url, "--key-file", keyFile}
	for _, c := range []struct {
		args  []string
		env   map[string]string
		code  int
		out   []string // in standard output
		errs  []string // in standard error
		asked string   // the last that the server was asked; empty: nothing

		fileBroke bool // what was read of a file is told before the failure
		told      bool // so is what the server answered, which is the failure
	}{
		{args: nil, out: []string{"footfall serve", "Exit codes: 0 done"}},
		{args: []string{"--help"}, out: []string{"footfall check-config"}},
		{args: []string{"keys", "create", "--help"}, out: []string{"--role", "footfall keys create"}},
		{args: []string{"keys"}, out: []string{"Server keys are the bearer tokens", "reset-admin"}},
		{args: []string{"quarantine"}, out: []string{"set aside"}},
		{args: []string{"redemptions"}, out: []string{"Redeem codes as a till does", "void"}},
		{args: []string{"version"}, out: []string{"footfall "}},

		{args: []string{"frob"}, code: 2, errs: []string{`footfall: unknown command "frob" of "footfall"; known are attributes, audit, campaigns, channels, check-config, `, "serve"}},
		{args: []string{"serv"}, code: 2, errs: []string{`did you mean serve?`}},
		{args: []string{"serve", "extra"}, code: 2, errs: []string{`"footfall serve" takes no arguments, has "extra"; see 'footfall serve --help'`}},
		{args: []string{"keys", "frob"}, code: 2, errs: []string{`unknown command "frob" of "footfall keys"; known are create, list, reset-admin, revoke`}},
		{args: []string{"keys", "lst"}, code: 2, errs: []string{`did you mean list?`}},
		{args: []string{"quarantine", "frob"}, code: 2, errs: []string{`known are list, retry`}},
		{args: []string{"version", "x"}, code: 2, errs: []string{"takes no arguments"}},
		{args: []string{"--frob"}, code: 2, errs: []string{"unknown flag: --frob; see 'footfall --help'"}},
		{args: []string{"keys", "create"}, code: 2, errs: []string{"give the key's name; see 'footfall keys create --help'"}},
		{args: []string{"explain", "ada"}, code: 2, errs: []string{"give a person and a campaign"}},

		{args: []string{"check-config", "--config", good}, out: []string{"the configuration is good"}},
		{args: []string{"check-config", "--example"}, out: []string{"data_dir"}},
		{args: []string{"check-config", "--config", bad}, code: 2, errs: []string{"date_dir"}},
		{args: []string{"check-config", "--config", filepath.Join(folder, "absent")}, code: 2, errs: []string{"absent"}},
		{
			args: []string{"check-config", "--config", good}, code: 2, errs: []string{"providers.apns.root_ca_file: cannot be read: ", "absent.pem"},
			env: map[string]string{"FOOTFALL_PROVIDERS_APNS_ROOT_CA_FILE": filepath.Join(folder, "absent.pem")},
		},
		{args: []string{"check-config", "--frob"}, code: 2, errs: []string{"unknown flag: --frob"}},
		{args: []string{"check-config"}, env: map[string]string{"FOOTFALL_LISTEN": "nowhere"}, code: 2, errs: []string{"listen"}},
		{args: []string{"serve", "--config", bad}, code: 2, errs: []string{"date_dir"}},

		{
			args: append([]string{"keys", "create", "console", "--role", "viewer"}, at...),
			out:  []string{"ffk_fresh\n"}, errs: []string{"key k1 (console, viewer); it is not shown again"},
			asked: `POST /api/v1/keys {"name":"console","role":"viewer"}`,
		},
		{args: append([]string{"keys", "create", "x", "--role", "king"}, "--server", url+"/none", "--key-file", keyFile), code: 1, errs: []string{"the server answered 422: Unprocessable Entity; body.role must be known"}, asked: `POST /none/api/v1/keys {"name":"x","role":"king"}`},
		{args: append([]string{"keys", "list"}, at...), out: []string{"ID  ", "k1  viewer  console      2026-03-02 09:30:00", "k2  admin   second page"}, asked: "GET /api/v1/keys?cursor=c%262 "},
		{args: append([]string{"keys", "revoke", "k/1"}, at...), errs: []string{"revoked k/1"}, asked: "DELETE /api/v1/keys/k%2F1 "},
		{
			args: append([]string{"explain", "user_id:ada", "rainy day"}, at...),
			out:  []string{"She said no.\nnote: It is paused.\n", "2026-03-02 09:30:00  Entered Café. Not sent.", "consent  yes  Agreed.", "cap      no   Had 1 of 1."}, asked: "GET /api/v1/people/user_id:ada/explain?campaign=rainy+day ",
		},
		{args: append([]string{"explain", "user_id:ada", "rainy day", "--json"}, at...), out: []string{`{"answer":"She said no."`}, asked: "GET /api/v1/people/user_id:ada/explain?campaign=rainy+day "},
		{
			args: append([]string{"people", "timeline", "user_id:ada", "--class", "purchases", "--from", "2026-03-01", "--to", "2026-03-02T12:00:00+01:00", "--most", "2"}, at...),
			out:  []string{"2026-03-02 09:30:00  2026-02-14 18:05:00  purchases  touch           Order Completed\n2026-03-01 09:30:00  -                    purchases  touch           Order Refunded\n"}, asked: "GET /api/v1/people/user_id:ada/timeline?class=purchases&from=2026-03-01T00%3A00%3A00Z&to=2026-03-02T12%3A00%3A00%2B01%3A00&cursor=c7 ",
		},
		{args: append([]string{"people", "timeline", "user_id:ada", "--from", "yesterday"}, at...), code: 2, errs: []string{`--from: "yesterday" is neither a time (RFC 3339) nor a day`}},
		{args: append([]string{"explain", "broken", "x"}, at...), code: 1, errs: []string{"the server answered 502 Bad Gateway"}, asked: "GET /api/v1/people/broken/explain?campaign=x "},
		{
			args: append([]string{"places", "import", table, "--map", "id:No,name:Store Name", "--radius", "75", "--hours", "refuse", "--dry-run", "--report", filepath.Join(folder, "report")}, at...),
			out:  []string{"a dry run: nothing was saved\nrows: 3 read, 1 refused, 1 with a warning\nplaces: 1 created, 1 changed, 0 as they were\ntime zones found from the position: 1\n"},
			errs: []string{"row 2 (a): Zone is no zone\nrow 3 refused: lat must be a number"}, asked: "POST /api/v1/places?dry_run=true&hours=refuse&map=id%3ANo%2Cname%3AStore+Name&radius=75 No,Store Name\n",
		},
		{args: append([]string{"places", "import", geojson}, at...), code: 1, fileBroke: true, errs: []string{"the rest of the file was not read: is not JSON at byte 7"}, asked: "POST /api/v1/places?hours=warn&radius=100 {}"},
		{args: append([]string{"places", "import", table, "--map", "colour:x"}, at...), code: 2, errs: []string{`there is no field "colour"`}},
		{args: append([]string{"places", "import", filepath.Join(folder, "absent.csv")}, at...), code: 2, errs: []string{"absent.csv"}},
		{args: append([]string{"places", "import", folder}, at...), code: 2, errs: []string{"is a folder"}},
		{args: append([]string{"places", "import", table, "--format", "xls"}, at...), code: 2, errs: []string{"geojson or csv"}},
		{args: append([]string{"places", "import", table, "--radius", "1"}, at...), code: 1, errs: []string{"the server answered 422"}, asked: "POST /api/v1/places?hours=warn&radius=1 No,Store Name\n"},
		{
			args: append([]string{"places", "export", "--format", "csv"}, at...), errs: []string{"2 places"}, asked: "GET /api/v1/places?limit=200&cursor=c3 ",
			out: []string{"id,fence,ring,name,lat,lng,radius,", "\na,f,inside,A,52.1,4.9,50,", "\nb,g,near,\"B, b\",52,5,60,,24/7"},
		},
		{args: append([]string{"places", "export", "--format", "xls"}, at...), code: 2, errs: []string{"geojson or csv"}},
		{
			args: append([]string{"test-send", "shop", "--install", "i1", "--title", "Hello", "--body", "You"}, at...), errs: []string{"content.body: lacks x"},
			out:   []string{"sent: Hello | You\nfcm: accepted projects/p/messages/1 (status 200) in 12 ms\nanswer: {\"name\":\"projects/p/messages/1\"}\nThe provider took it.\n"},
			asked: `POST /api/v1/apps/shop/test-send {"install":"i1","content":{"body":"You","title":"Hello"}}`,
		},
		{
			args: append([]string{"test-send", "dead", "--token-file", file("token", "secret\n"), "--provider", "apns", "--campaign", "rain", "--dry-run"}, at...), code: 1, told: true,
			errs: []string{"footfall: the provider did not take it: token_gone Unregistered"}, out: []string{"apns: token_gone Unregistered (status 410) in 3 ms\nThe token is dead."},
			asked: `POST /api/v1/apps/dead/test-send {"token":"secret","provider":"apns","campaign":"rain","dry_run":true}`,
		},
		{args: append([]string{"test-send", "shop", "--install", "i1", "--content", table}, at...), code: 2, errs: []string{"--content: " + table + " is not JSON"}},
		{args: append([]string{"test-send", "shop", "--token-file", filepath.Join(folder, "absent")}, at...), code: 2, errs: []string{"--token-file: "}},
		{args: []string{"test-send"}, code: 2, errs: []string{"give an app's id"}},
		{
			args: append([]string{"import", "tokens", file("tokens", "{}\n"), "--app", "shop", "--old", "refuse_stale", "--dry-run", "--report", filepath.Join(folder, "tokens-report")}, at...),
			out:  []string{"a dry run: nothing was saved\nrows: 3 read, 2 taken, 1 refused, 1 with a warning, 1 too old\n"},
			errs: []string{"row 2: last_seen is 40 days ago\nrow 3 refused: token is missing"}, asked: "POST /api/v1/apps/shop/push-tokens?dry_run=true&old=refuse_stale {}\n",
		},
		{args: append([]string{"import", "tokens", table}, at...), code: 2, errs: []string{"give the app by --app"}},
		{args: append([]string{"import", "tokens", table, "--app", "a", "--old", "x"}, at...), code: 2, errs: []string{"--old must be"}},
		{args: append([]string{"import", "tokens", table, "--app", "a", "--format", "xls"}, at...), code: 2, errs: []string{"--format must be csv or ndjson"}},
		{
			args: append([]string{"channels"}, at...), code: 1, told: true, asked: "GET /api/v1/channels ",
			out:  []string{"shop  fcm       demo     ok      -                    -      2        7     1.2     100.0      -", "paused  2026-03-02 09:30:00", "InvalidProviderToken"},
			errs: []string{"shop apns: Mend it\nfootfall: 1 of 2 credentials need somebody"},
		},
		{args: append([]string{"channels", "--json"}, at...), asked: "GET /api/v1/channels ", out: []string{`"alerts":1`}},
		{args: []string{"credentials"}, out: []string{"never from the command line", "exchange it"}},
		{args: append([]string{"credentials", "list"}, at...), asked: "GET /api/v1/apps?cursor=c6 ", out: []string{"shop  android   fcm       demo     3\nshop  android   apns      T/K      3\nweb   web       -         -        1\n"}},
		{args: append([]string{"credentials", "list", "shop", "--json"}, at...), asked: "GET /api/v1/apps/shop ", out: []string{`"version":3`}},
		{args: append([]string{"credentials", "list", "a", "b"}, at...), code: 2, errs: []string{"give at most an app's id"}},
		{
			args:  append([]string{"credentials", "put", "shop", "--fcm-service-account", file("account.json", `{"project_id":"demo","private_key":"k"}`+"\n")}, at...),
			asked: `PUT /api/v1/apps/shop/credentials {"fcm":{"project_id":"demo","service_account":{"project_id":"demo","private_key":"k"}},"version":3}`,
			errs:  []string{"shop sends by fcm as demo, version 4\n"},
		},
		{
			args:  append([]string{"credentials", "put", "shop", "--fcm-project-id", "demo", "--apns-key", file("key.p8", "pem"), "--apns-key-id", "K", "--apns-team-id", "T", "--json"}, at...),
			asked: `PUT /api/v1/apps/shop/credentials {"apns":{"key_id":"K","private_key":"pem","team_id":"T"},"fcm":{"project_id":"demo"},"version":3}`,
			out:   []string{`"version":4`},
		},
		{args: append([]string{"credentials", "put", "shop"}, at...), code: 2, errs: []string{"give a credential"}},
		{args: append([]string{"credentials", "put", "shop", "--apns-key", table}, at...), code: 2, errs: []string{"--apns-key-id and --apns-team-id"}},
		{args: append([]string{"credentials", "put", "shop", "--apns-key", filepath.Join(folder, "absent.p8"), "--apns-key-id", "K", "--apns-team-id", "T"}, at...), code: 2, errs: []string{"--apns-key: ", "absent.p8"}},
		{args: append([]string{"credentials", "put", "shop", "--fcm-service-account", table}, at...), code: 2, errs: []string{"shops.csv is not the JSON file of a service account"}},
		{args: append([]string{"credentials", "put", "shop", "--fcm-service-account", geojson}, at...), code: 2, errs: []string{"give --fcm-project-id"}},
		{args: append([]string{"credentials", "remove", "shop", "fcm"}, at...), asked: "DELETE /api/v1/apps/shop/credentials/fcm ", errs: []string{"removed the fcm credential of shop\n"}},
		{args: append([]string{"credentials", "remove", "shop", "fcm", "--json"}, at...), asked: "GET /api/v1/apps/shop ", out: []string{`"version":3`}},
		{args: append([]string{"credentials", "remove", "shop", "web"}, at...), code: 2, errs: []string{`must be fcm or apns, is "web"`}},
		{args: []string{"webhooks"}, out: []string{"signed CloudEvents", "dead-letters"}},
		{
			args: append([]string{"webhooks", "list"}, at...), asked: "GET /api/v1/webhooks?cursor=c4 ",
			out: []string{"crm   enabled  3        2     2026-03-02 09:30:00  https://crm.example.com/f  CRM\n", "till  paused   0        0     -  "},
		},
		{
			args: append([]string{"webhooks", "show", "crm"}, at...), asked: "GET /api/v1/webhooks/crm ",
			out: []string{
				"version       7\n", "status        disabled gone\n", "types         footfall.conversion, footfall.visit.ended\n", "tags          mall\n", "headers       Authorization\n", "batch         50\n",
				"secret        s1 of 2026-03-02 09:30:00\n", "dead letters  2\n", `last failure  2026-03-02 09:31:00 status 410 http_410 "gone\x1b[2J"`,
			},
		},
		{args: append([]string{"webhooks", "show", "crm", "--json"}, at...), asked: "GET /api/v1/webhooks/crm ", out: []string{`"version":7`}},
		{args: append([]string{"webhooks", "show", "new"}, at...), code: 1, asked: "GET /api/v1/webhooks/new ", errs: []string{`answered 404: there is no webhook "new"`}},
		{
			args: append([]string{"webhooks", "apply", "new", file("hook.json", `{"url":"x"}`)}, at...), asked: `PUT /api/v1/webhooks/new {"url":"x"}`,
			out: []string{"whsec_fresh\n"}, errs: []string{"secret s9 of webhook new; it is not shown again\nwebhook new is enabled, version 1\n"},
		},
		{
			args: append([]string{"webhooks", "apply", "crm", file("hook.json", `{"url":"x"}`)}, at...), asked: `PUT /api/v1/webhooks/crm {"url":"x","version":7}`,
			errs: []string{"webhook crm is enabled, version 8\n"},
		},
		{args: append([]string{"webhooks", "apply", "crm", file("old.json", `{"url":"x","version":5}`)}, at...), asked: `PUT /api/v1/webhooks/crm {"url":"x","version":5}`, errs: []string{"version 8"}},
		{args: append([]string{"webhooks", "apply", "crm", table}, at...), code: 2, errs: []string{"shops.csv is no JSON object"}},
		{args: append([]string{"webhooks", "apply", "crm", file("null.json", "null")}, at...), code: 2, errs: []string{"null.json is no JSON object"}},
		{args: append([]string{"webhooks", "apply", "crm", filepath.Join(folder, "absent.json")}, at...), code: 2, errs: []string{"absent.json"}},
		{args: append([]string{"webhooks", "apply", "broken", file("hook.json", `{"url":"x"}`)}, at...), code: 1, asked: "GET /api/v1/webhooks/broken ", errs: []string{"the server answered 422"}},
		{args: append([]string{"webhooks", "delete", "c/m"}, at...), asked: "DELETE /api/v1/webhooks/c%2Fm ", errs: []string{"deleted c/m"}},
		{args: append([]string{"webhooks", "test", "crm"}, at...), asked: "POST /api/v1/webhooks/crm/test {}", out: []string{"ping e1: accepted (status 204) in 12 ms\n"}},
		{
			args: append([]string{"webhooks", "test", "dead"}, at...), code: 1, told: true, asked: "POST /api/v1/webhooks/dead/test {}",
			out: []string{`ping e2: retry_after (connect "refused") in 3 ms`}, errs: []string{"footfall: the receiver did not take it: retry_after connect\n"},
		},
		{args: append([]string{"webhooks", "secrets", "add", "crm"}, at...), asked: "POST /api/v1/webhooks/crm/secrets {}", out: []string{"whsec_second\n"}, errs: []string{"secret s2 of webhook crm; it is not shown again"}},
		{args: append([]string{"webhooks", "secrets", "delete", "crm", "s1"}, at...), asked: "DELETE /api/v1/webhooks/crm/secrets/s1 ", errs: []string{"deleted secret s1 of webhook crm"}},
		{args: append([]string{"webhooks", "secrets", "delete", "crm"}, at...), code: 2, errs: []string{"give a webhook's id and a secret's id"}},
		{
			args: append([]string{"webhooks", "dead-letters", "list", "crm"}, at...), asked: "GET /api/v1/webhooks/crm/dead-letters?cursor=c5 ",
			out: []string{`e1     footfall.conversion  2026-03-02 09:30:00  2026-03-02 09:31:00  refused   4         status 400 http_400 "no"`, "e2     footfall.conversion  -  "},
		},
		{args: append([]string{"webhooks", "dead-letters", "list", "crm", "--json"}, at...), asked: "GET /api/v1/webhooks/crm/dead-letters?cursor=c5 ", out: []string{`"data":{"x":1}`, "}\n{\"event\":\"e2\""}},
		{args: append([]string{"webhooks", "dead-letters", "retry", "crm", "e1"}, at...), asked: `POST /api/v1/webhooks/crm/dead-letters/retry {"event":"e1"}`, errs: []string{"5 to be sent again"}},
		{args: append([]string{"webhooks", "dead-letters", "retry", "crm", "--all"}, at...), asked: `POST /api/v1/webhooks/crm/dead-letters/retry {"all":true}`, errs: []string{"5 to be sent again"}},
		{args: append([]string{"webhooks", "dead-letters", "retry", "crm"}, at...), code: 2, errs: []string{"or a webhook's id and --all"}},
		{args: append([]string{"webhooks", "dead-letters", "retry", "crm", "e1", "--all"}, at...), code: 2, errs: []string{"or a webhook's id and --all"}},
		{args: append([]string{"webhooks", "dead-letters", "delete", "crm", "e/1"}, at...), asked: "DELETE /api/v1/webhooks/crm/dead-letters/e%2F1 ", errs: []string{"1 deleted"}},
		{args: append([]string{"webhooks", "dead-letters", "delete", "crm", "--all"}, at...), asked: "DELETE /api/v1/webhooks/crm/dead-letters ", errs: []string{"6 deleted"}},
		{args: append([]string{"webhooks", "dead-letters", "delete", "crm", ""}, at...), code: 2, errs: []string{"or a webhook's id and --all"}},
		{args: append([]string{"quarantine", "list"}, at...), out: []string{"q1  trigger  2026-03-02 09:30:00  it panicked"}, asked: "GET /api/v1/quarantine "},
		{args: append([]string{"quarantine", "retry", "q/1"}, at...), errs: []string{"appended again: q/1"}, asked: `POST /api/v1/quarantine/retry {"id":"q/1"}`},

		{args: []string{"quarantine", "list"}, env: map[string]string{"FOOTFALL_SERVER": url + "/", "FOOTFALL_KEY": "ffk_key"}, out: []string{"it panicked"}, asked: "GET /api/v1/quarantine "},
		{args: []string{"quarantine", "list"}, env: map[string]string{"FOOTFALL_SERVER": url, "FOOTFALL_KEY": "ffk_other"}, code: 1, errs: []string{"the server answered 401: the key is not in force"}, asked: "GET /api/v1/quarantine "},
		{args: []string{"quarantine", "list", "--server", url}, code: 2, errs: []string{"no key: give --key-file or set FOOTFALL_KEY"}},
		{args: []string{"keys", "list", "--server", url, "--key-file", filepath.Join(folder, "absent")}, code: 2, errs: []string{"read key file"}},
		{args: []string{"keys", "list", "--server", "http://127.0.0.1:0", "--key-file", keyFile}, code: 1, errs: []string{"127.0.0.1:0"}},
		{args: append([]string{"keys", "list", "--server", "::", "--key-file"}, keyFile), code: 2, errs: []string{"::"}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			*all = nil
			var out, errs bytes.Buffer
			code := run(t.Context(), c.args, func(name string) string { return c.env[name] }, &out, &errs)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, want := range c.out {
				if !strings.Contains(out.String(), want) {
					t.Errorf("standard output lacks %q", want)
				}
			}
			for _, want := range c.errs {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("standard error lacks %q", want)
				}
			}
			if code != 0 && (out.Len() > 0 && !c.fileBroke && !c.told || strings.Count(errs.String(), "footfall: ") != 1) {
				t.Error("a failure is one line on standard error")
			}
			if strings.Contains(errs.String()+out.String(), "ffk_key") {
				t.Error("the key is shown")
			}
			got := ""
			if n := len(*all); n > 0 {
				last := (*all)[n-1]
				got = last.method + " " + last.uri + " " + last.body
			}
			if got != c.asked {
				t.Errorf("asked %q, want %q", got, c.asked)
			}
			if t.Failed() {
				t.Logf("out: %s\nerrs: %s", &out, &errs)
			}
		})
	}
}

func TestAnAdminKeyNamesItsWorkspace(t *testing.T) {
	url, all := remoteServer(t)
	env := map[string]string{"FOOTFALL_KEY": "ffk_key", "FOOTFALL_SERVER": url}
	var out bytes.Buffer
	if code := run(t.Context(), []string{"quarantine", "list", "--workspace", "acme"}, func(name string) string { return env[name] }, &out, &out); code != 0 {
		t.Fatal(out.String())
	}
	if got := (*all)[0].workspace; got != "acme" {
		t.Errorf("workspace %q", got)
	}
}

func TestResetAdminNeedsAFolderOfAServer(t *testing.T) {
	var out, errs bytes.Buffer
	none := func(string) string { return "" }
	code := run(t.Context(), []string{"keys", "reset-admin", "--data-dir", t.TempDir()}, none, &out, &errs)
	if code != 1 || out.Len() > 0 || !strings.Contains(errs.String(), "has a server ever run there?") {
		t.Errorf("exit code %d, out %s, errs %s", code, &out, &errs)
	}
}

func FuzzExplanation(f *testing.F) {
	f.Add([]byte(`{"answer":"x","decisions":[{"gates":[{}]}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var out bytes.Buffer
		c := &cli{out: &out, errs: &out}
		if err := c.printExplanation(raw); err == nil && !json.Valid(raw) {
			t.Errorf("printed %q", raw)
		}
	})
}

func TestTheBarTellsHowMuchIsSent(t *testing.T) {
	for _, c := range []struct {
		read, size int64
		want       string
	}{
		{0, 2e6, "[" + strings.Repeat(" ", 40) + "] 0 % of 2.0 MB"},
		{5e5, 2e6, "[" + strings.Repeat("=", 10) + strings.Repeat(" ", 30) + "] 25 % of 2.0 MB"},
		{3e6, 2e6, "[" + strings.Repeat("=", 40) + "] 100 % of 2.0 MB"}, // the file grew
		{5e5, 0, "0.5 MB sent"},
	} {
		if got := bar(c.read, c.size); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
