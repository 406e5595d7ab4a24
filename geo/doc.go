// Package geo knows where things are: points, H3 cells, fences, an index that
// finds the fences of a point, and the rule that turns a noisy fix into
// presence. It is pure: no I/O, no clock, no chance. The same arguments give the
// same answers on every machine.
package geo
