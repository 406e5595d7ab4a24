package engage

import "log/slog"

// Secret is a string that must not be logged: it redacts itself. It is encoded
// in full, since stores and providers need it.
type Secret string

// LogValue hides the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue("redacted") }

// String hides the secret from fmt.
func (s Secret) String() string { return "redacted" }

// Reveal returns the secret.
func (s Secret) Reveal() string { return string(s) }
