package catalog_test

import (
	"slices"
	"testing"

	"github.com/footfall-engage/footfall/server/catalog"
	"github.com/footfall-engage/footfall/server/engage"
)

func TestAnOriginIsWhatABrowserSays(t *testing.T) {
	for origin, good := range map[string]bool{
		"https://shop.example": true, "http://localhost": true, "http://localhost:3000": true, "https://*.shop.example": true,
		"https://shop.example:8443": true, "https://[::1]:8443": true, "http://127.0.0.1:8080": true, "https://xn--bcher-kva.example": true,
		"": false, "*": false, "shop.example": false, "https://": false, "https://shop.example/": false, "https://shop.example/a": false,
		"https://Shop.example": false, "HTTPS://shop.example": false, "https://shop.example:443": false, "http://shop.example:80": false,
		"https://shop.example:": false, "https://shop.example:0": false, "https://shop.example:99999": false, "https://*": false, "https://*.example": false,
		"https://*.127.0.0.1": false, "https://a.*.example": false, "https://u@shop.example": false, "https://shop.example?x": false,
		"https://shop.example#x": false, "null": false, "ftp://shop.example": false, "https://shop example": false,
	} {
		k, _ := catalog.NewWriteKey("acme", "web", catalog.WritePublic, "")
		k.Origins = []string{origin}
		if err := k.Validate(); (err == nil) != good {
			t.Errorf("%q: %v", origin, err)
		}
	}
	k, _ := catalog.NewWriteKey("acme", "web", catalog.WritePublic, "")
	k.Origins = slices.Repeat([]string{"https://shop.example"}, catalog.MaxOrigins+1)
	if err := k.Validate(); engage.CodeOf(err) != engage.TooLarge {
		t.Errorf("too many: %v", err)
	}
	till, _ := catalog.NewWriteKey("acme", "till", catalog.WriteServer, "")
	if till.Origins = []string{"https://shop.example"}; till.Validate() == nil {
		t.Error("a server's key has an origin")
	}
}

func TestAPageIsOfTheListOrNot(t *testing.T) {
	list := []string{"https://shop.example", "https://*.stores.example:8443", "http://localhost:3000"}
	for origin, want := range map[string]bool{
		"https://shop.example": true, "http://localhost:3000": true, "https://a.stores.example:8443": true, "https://a.b.stores.example:8443": true,
		"http://shop.example": false, "https://shop.example:8443": false, "https://evil-shop.example": false, "https://shop.example.evil.example": false,
		"https://stores.example:8443": false, "https://.stores.example:8443": false, "https://a.stores.example": false, "https://evilstores.example:8443": false,
		"http://localhost": false, "null": false, "": false,
	} {
		if got := catalog.OriginAllowed(list, origin); got != want {
			t.Errorf("%q: %v", origin, got)
		}
		if !catalog.OriginAllowed(nil, origin) {
			t.Errorf("%q: without a list all may", origin)
		}
	}
}
