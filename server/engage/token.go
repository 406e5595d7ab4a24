package engage

import (
	"strings"
	"time"
)

// Kinds of IN entries about push tokens. Whose a token is, is a state of its own (key
// "<workspace>/t:<hash>"), with one writer, as an install's is.
const (
	KindTokenClaim  Kind = "token_claim"  // JSON TokenClaim; at the token's key
	KindTokenImport Kind = "token_import" // JSON TokenImport; at the install's key
	KindGiveInstall Kind = "give_install" // JSON GiveInstall; at the install's key

	// KindYield is one of ACT, of earlier builds: an app has said who has an identifier
	// that a file had given to the profile. Such a file's profile is merged.
	KindYield Kind = "yield"
)

// TokenMoved is the reason for which a token is dead to an install after another
// install of the same app has registered it.
const TokenMoved = "moved"

// TokenKey is the key of a push token's owner. A token is of an app: two apps of a
// workspace never share one, and those of two workspaces are not compared.
func TokenKey(workspace, app, provider string, token Secret) string {
	text := token.Reveal()
	if provider == "apns" {
		text = strings.ToLower(text) // hexadecimal
	}
	return workspace + "/t:" + hashID("push token", app, provider, text)
}

// TokenClaim tells the owner of a token that an install has registered it.
type TokenClaim struct {
	Install string `json:"install"`
	// Token travels so that the install that loses it can be told; the token's state
	// keeps the hash of its key only.
	Token Secret    `json:"token"`
	At    time.Time `json:"at"`             // when it was registered, log time; of two claims the newer one wins
	Gone  bool      `json:"gone,omitempty"` // the install has another token instead, or none
	// Imported: a file says so. It takes the token from no app that has registered it,
	// and any app takes it from a file.
	Imported bool `json:"imported,omitempty"`
}

// TokenImport is a push token that was collected elsewhere, for an install that may
// never have been seen.
type TokenImport struct {
	Install    string     `json:"install"`
	App        string     `json:"app"`
	Platform   string     `json:"platform"`             // android, ios, web
	Push       PushTarget `json:"push"`                 // At is when it was registered or last seen there
	Identifier string     `json:"identifier,omitempty"` // "user_id:ada"; empty: nobody is known to have it
	// Notifications is the OS's permission as Device has it.
	Notifications string `json:"notification_permission"`
}

// GiveInstall tells an install that a profile of its has become one with another.
type GiveInstall struct {
	From string `json:"from"` // profiles
	To   string `json:"to"`
}

// ImportedInstall is the id of the install that is made up for an imported token of
// which nobody says what install it is of: the same token is the same install.
func ImportedInstall(workspace, app, provider string, token Secret) string {
	return "imported-" + strings.TrimPrefix(TokenKey(workspace, app, provider, token), workspace+"/t:")
}
