// Package pipelinebench is the load of `footfall-lab bench pipeline`: phones whose fixes
// enter places and bring messages, and the book of what was asked for and what came. Like
// everything in lab it sees what a phone sees; that command starts the server and the push
// provider's simulator, and compares this book with what the server decided.
//
// # The shapes
//
// Push: phones in the background. Each fix is a POST on one of 128 connections, as a
// proxy in front of the server would have them. As the SDKs do, a phone has one POST under
// way, says with it which regions it has registered and how far it knows inbox and config,
// and applies what the answer brings.
//
// InApp: phones in the foreground. Each fix is a frame on the phone's own socket; a message
// that is offered is claimed, and counts as shown when the grant is there; the receipt
// follows.
//
// Places are circles of 80 m, 500 m apart. A phone goes round a block of nine: one of
// Options.Every fixes is in the middle of the next, the others between places, so that
// each entry is a visit of its own and fires what listens to the place.
//
// # Time
//
// When each fix is due is fixed before the run (a Poisson process), and every time is
// taken from then, not from when the generator came to it: a server that stalls, and a
// generator that is late, are charged for all whom they kept waiting.
package pipelinebench
