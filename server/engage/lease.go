package engage

import "time"

// What a limit that spans people says in the log. Its owner, the "act" partition that
// LimitKey hashes to, hears KindLeaseAsk; the partitions that use it hear KindLeaseGrant.
// Package decide (lease.go) makes and reads both.
const (
	KindLeaseAsk   Kind = "lease_ask"   // JSON LeaseAsk; at LimitKey
	KindLeaseGrant Kind = "lease_grant" // JSON LeaseGrant; at HoldingKey, in the partition that it is for
)

// LimitKey is the key of the owner of a limit.
func LimitKey(workspace, limit string) string { return workspace + "/l:" + limit }

// HoldingPrefix of the ids of the holdings of a limit in the collection "state_act": what
// follows is the name of the partition.
func HoldingPrefix(limit string) string { return "h:" + limit + "@" }

// HoldingKey is the key of what a partition ("act/0") has on lease of a limit.
func HoldingKey(workspace, limit, partition string) string {
	return workspace + "/" + HoldingPrefix(limit) + partition
}

// PoolCode is one of an offer's unique codes.
type PoolCode struct {
	N    int64  `json:"n"` // in the order of the pool, from 0
	Code string `json:"code"`
}

// LimitTerms are what a limit is, as a document of the configuration says it. Of two
// partitions that say different terms, the higher version counts.
type LimitTerms struct {
	Total   int64 `json:"total"`   // units in all; within Every, if that is given
	Version int64 `json:"version"` // of the document (offer, campaign) that says so
	// Every is the length of the windows, aligned to the Unix epoch, in each of which
	// there are Total units again: a rate. 0: there are Total once.
	Every time.Duration `json:"every,omitempty"` // nanoseconds
	// Pool is the offer whose unique codes the units are; empty: they have none. The pool
	// has Total codes at least.
	Pool string `json:"pool,omitempty"`
}

// LeaseAsk is what a partition tells the owner of a limit.
type LeaseAsk struct {
	V         int        `json:"v"` // 1
	Limit     string     `json:"limit"`
	Partition string     `json:"partition"` // "act/0": who asks
	Terms     LimitTerms `json:"terms"`
	Window    int64      `json:"window,omitempty"` // of Terms.Every, that all of this is about
	Want      int64      `json:"want,omitempty"`   // units, at least; 0: none
	Hope      int64      `json:"hope,omitempty"`   // units that there is use for at once; below Want: as many as that
	// Ahead: there are some left here; nobody waits for these.
	Ahead bool `json:"ahead,omitempty"`
	// Back are units that are given back, BackN those of them that have codes, which are
	// then all.
	Back  int64   `json:"back,omitempty"`
	BackN []int64 `json:"back_n,omitempty"`
	// Used is how many of all that were granted, and not given back, are used.
	Used     int64 `json:"used"`
	Recalled bool  `json:"recalled,omitempty"` // it answers a recall
}

// LeaseGrant is what the owner of a limit tells a partition.
type LeaseGrant struct {
	V         int    `json:"v"` // 1
	Limit     string `json:"limit"`
	Partition string `json:"partition"` // whom it is for
	Window    int64  `json:"window,omitempty"`
	N         int64  `json:"n,omitempty"` // units that are granted
	// Pool is the offer whose codes the units are, Codes the codes: they leave the owner
	// as numbers alone, and app, which keeps them, adds the texts on the way.
	Pool  string     `json:"pool,omitempty"`
	Codes []PoolCode `json:"codes,omitempty"`
	// Out: there are none left, and nobody has any that they do not use.
	Out    bool `json:"out,omitempty"`
	Ahead  bool `json:"ahead,omitempty"`  // with Out: it answers such an ask, and others may have some
	Recall bool `json:"recall,omitempty"` // the owner asks for what is not used
}
