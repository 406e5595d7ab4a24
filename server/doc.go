// Package server holds no code: it is the folder of the server's packages and of
// the tests that look at the whole tree (who imports whom, what stands where).
//
// The stages are the story in order: ingest, situate, decide, deliver, measure.
// They share the vocabulary (engage) and pure libraries (rules, profile,
// template), are driven by partition over eventlog and store, and are joined by
// app alone. The commands are cmd/footfall and cmd/footfall-lab.
package server
