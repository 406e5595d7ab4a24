// Package api is the HTTP side of the server for marketers, their servers and
// operators: the operations under /api/v1 with their OpenAPI 3.1 document, the
// live page at /, and health. The phones' side (/sdk/v1) is handed in and only
// mounted here.
//
// # Who may do what
//
// Every operation needs a server key as bearer token and has a least role:
// till redeems codes and voids redemptions, and reads nothing; viewer reads; marketer
// defines; admin handles keys, apps and what operators see. Each may do what those before
// it may, but for one thing: a viewer changes nothing, so redeeming and voiding is for till,
// marketer and admin. Redemptions are listed and got by viewer, marketer and admin; whether
// a code could be redeemed changes nothing, and each may ask. A key belongs to a workspace, and so does everything an operation reads or
// writes: register gives each handler the caller's workspace, and no handler
// takes one from the request. Only an admin key may name another workspace, in
// the header Footfall-Workspace.
//
// # Bad input
//
// All errors are RFC 9457 problems with a code, the field and the reason; they
// are made in one place (problem.go). Bodies are read by decode, which knows
// where in the document something is wrong, refuses unknown and doubled keys, and
// is given no more bytes than an operation's limit. A file of places is the exception:
// import.go reads it as it comes in (package places), saves it in batches, and answers
// with what became of its rows.
//
// # Versions
//
// Places, campaigns and attributes carry a version, which is their ETag. A change
// names the version that it was made from, by If-Match or in the document; if
// somebody else was faster it is refused with 412 and nothing is lost. Without
// either, a PUT only creates.
//
// # Where things come from
//
// What marketers define is read from and written through the catalogue. What
// became of people and messages is read from what the stages have committed, by
// the small interfaces in options.go, which app supplies: api reads documents and
// never changes them. Who is near now is in memory (Nearby): devices with a young
// fix and consent to precise location.
//
// # What a heat map gives away
//
// Nothing that counts fewer devices than the least of the configuration, neither as
// a cell nor as a difference between any cells of any resolution (geo.Heat says
// how), since all answers within 15 s are of one moment. It does not hide that a
// count grows by one between moments that lie apart, and an app key can be used to
// make devices up. It counts devices: who has two phones counts twice. And it is for
// maps that go further than the key: a viewer's key may also list who is near.
package api
