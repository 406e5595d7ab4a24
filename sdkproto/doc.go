// Package sdkproto is the Footfall SDK protocol as Go code: the names and limits
// of the wire, the two codecs, the checks that need no state, and the clock
// rule. README.md is the specification; package sdkpb holds the generated
// messages and package client a reference client. It imports nothing of the
// server.
package sdkproto

// `make generate` runs the same command with the pinned tools on the path.
//go:generate buf generate
