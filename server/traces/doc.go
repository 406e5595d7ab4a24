// Package traces reads recorded positions and lays fences over them, without a
// server: what would geo have told of this walk?
//
// Read reads a trace: GPX, CSV or ndjson. A row that cannot be read is refused with
// its line, a code, the field and the reason, and nothing else is lost; Report
// counts and keeps the first of each code. ParseFences reads the fences from
// GeoJSON. A Replay runs a geo.Tracker per device over the rows and writes a JSON
// line per transition, as history (what in-order arrival gives, whatever the order
// of the rows) or live (what would have been told, row by row). A Map draws it.
//
// Memory is bounded, however long the trace: what must be sorted is sorted in pieces,
// which go to temporary files (readable to their owner only, for they hold
// positions) and are merged. There is no clock here: Limits.Now says what is the
// future.
package traces
