// Package redeem keeps the pools of offers' unique codes (engage.Offer), and what tills
// take of codes: redemptions.
//
// # Collections, of the hot store
//
//	offer_codes   a unique code, its id engage.NormalCode: of which offer, its number, and which redemption has it
//	offer_pool    1,000 codes of an offer in order, id "<offer>/<number of the first>", and "<offer>" with how many there are
//	redemptions   engage.Redemption, its id made of what the till calls it
//	redeem_outbox what owners of persons and offers are still to hear, in the system's workspace
//	offer_uses    how often an offer was redeemed ("o/<offer>"), by whom ("p/<profile>/<offer>"), and a message of a shared code ("d/<delivery>")
//
// A code is written with its place in the pool in one batch, so that none is lost and none
// stands twice in a workspace, whoever dies.
//
// # How a code comes to a person
//
// A pool is uploaded here (AddCodes) and its size becomes a revision of the offer. Numbers
// of codes are leased by the offer's owner to the partitions (package decide, lease.go);
// on the way Fill adds the texts. A decision that takes one records a reservation.
//
// # Who decides that a code is redeemed
//
// The code's own row. A till waits for its answer, and many tills may ask at once; an owner
// in the log would answer in the order of everything else, and by way of another record. So
// this is as with a delivery's record, which a phone and deliver may both change (DESIGN
// §6): one put-if-version, whoever wins decides. One batch writes the redemption, which
// must not be there; the code's row, or for a shared code the message's and the person's, on
// the version that was read; and the offer's count on its own. Either all of it is there or
// nothing, so that of any number of tills one has the code, a limit is never exceeded, and
// what was answered survives. A till whose answer was lost asks again under the same id and
// is told the same; who asks something else under it is refused.
//
// What was taken then goes, as a record, to the owner of the person (KindRedemption) and,
// where the offer has a total, to what partitions know of its use (KindOfferUse). Until that
// stands in the log it is in the outbox, which is written in the same batch; who hears it
// twice counts it once.
//
// Three things are known a moment late. A decision can bring an offer that was used up a
// moment ago: the till refuses it. A code of a message that ended undelivered may be
// redeemed before that is saved: it then stays redeemed, and is given to nobody else (Fill).
// And of two profiles that turn out to be one person a shared code may have been redeemed
// as often as either was allowed.
//
// # How long
//
// Redemptions, and the counts by person and message, live for Options.Keep. The row that
// says that a unique code was redeemed lives as long as its pool: until the offer has been
// over for that long, when codes and pool are deleted (Sweep). The count of an offer stays.
// When a person is erased, their redemptions and counts are deleted; the rows of codes name
// nobody.
package redeem
