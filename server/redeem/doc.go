// Package redeem keeps the pools of offers' unique codes (engage.Offer).
//
// # Collections, of the hot store
//
//	offer_codes   a unique code, its id engage.NormalCode: of which offer, and its number
//	offer_pool    1,000 codes of an offer in order, id "<offer>/<number of the first>", and "<offer>" with how many there are
//
// A code is written with its place in the pool in one batch, so that none is lost and none
// stands twice in a workspace, whoever dies.
//
// # How a code comes to a person
//
// A pool is uploaded here (AddCodes) and its size becomes a revision of the offer. Numbers
// of codes are leased by the offer's owner to the partitions (package decide, lease.go);
// on the way Fill adds the texts. A decision that takes one records a reservation.
package redeem
