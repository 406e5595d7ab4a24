// Package ingest is the gateway of the SDK protocol: it authenticates phones,
// validates and limits what they say, appends it to the log, and acknowledges it
// when it is durable. It also carries the other direction: the circles to watch,
// in-app messages, claims.
//
// Reading order: ports.go (what it needs of the others), gateway.go (lifecycle),
// judge.go (what may enter the log), install.go (what it remembers of an
// install), watch.go and watched.go (what its phone should watch, and why not
// more), session.go, batch.go, outbound.go and write.go (one websocket), resume.go (what outlives
// it), inbox.go, config.go and token.go (what else a phone asks for), person.go (what persons see and change of
// what is kept of them), post.go (the
// POSTs and GETs), stall.go (when the log does not answer), limit.go and goaway.go
// (when there are too many), sessions.go (the door for the deliver stage).
//
// # A session costs one goroutine
//
// The HTTP handler returns after the handshake, so that the HTTP server's
// buffers are freed. One goroutine reads; what is to be written waits in a
// bounded queue. A few workers, who exist while something waits anywhere, write what
// the sockets take at once; for a phone that does not read, a goroutine of its own waits
// as long as writeWithin (write.go). Pings, the patience for hello and dead peers are the business
// of one shared wheel. It counts its own ticks, one a second of the server's
// clock, so a clock that jumps (a suspended laptop, a test) declares nobody dead
// who had no chance to answer.
//
// What a message takes while it is on its way is used again for another, perhaps of
// another phone: a message of one position is decoded into memory that is free when it
// has been judged (sdkproto.Decoder), and a batch and its ack are one struct until the
// ack is written (flight). So nothing may be kept of a decoded frame but its texts and
// what is made of it, and nothing of a flight once the log has it.
//
// # Consent at the door
//
// The gateway keeps a read copy of each install's consents and of the phase of
// its app, changed by the items that it appends, in their order. An answer that
// is older by seq than the one known changes nothing. An item that needs a
// consent which is not there never enters the log; without the consent to
// precise positions only the centre of the H3 cell enters it. The read copy may
// be ahead of the log when an append fails; situate judges again by the order of
// the log.
//
// # Who uses the phone
//
// identify is judged by the keys and the mode of its app (package identity). One that
// is proven enters the log as an item, one that nobody has proven as another kind of
// entry, which no field that a phone writes can make or unmake; the proof itself stays
// here. A logout is in force as soon as the log has taken it: no consent of the person
// before holds, what was held to be sent to them again is dropped, and Owner tells
// deliver and the inbox whose the install is by now.
//
// # When a session is over
//
// The entry of a session holds the id of its socket, and when the socket has ended,
// or was given up as dead, an entry follows what it brought that says so. An older session ends after a newer one of its install has
// begun, under its own id. A POST is no session.
//
// # Resume
//
// For an SDK of the capability resume the gateway numbers what must not be lost, and
// keeps it, encoded, with the install until the phone says that it has it: so it
// outlives the session, for a day at most, while the install is remembered
// (Limits.MaxInstalls) and there is room (500 frames and 64 KiB an install,
// Limits.MaxUnacked in all). A phone that takes what it is sent costs one small
// struct, one without the capability a nil pointer.
//
// For a phone whose session has broken this is kept, and comes when it resumes:
// what it was sent and had not taken; in-app messages only while they can be
// claimed. Nothing is added while it is away, because what changes then can be
// found out when it is back: the set of regions is planned anew, the config compared
// by its etag, the inbox asked for by hello's cursor (an SDK that has none is sent
// the waiting messages again, if anything came). What is newer takes the place of
// what was kept of its kind. In-app messages for a phone that is not there are not
// taken at all: they go as a push at once.
//
// What falls out of the bounds raises a floor, and who has taken less than the floor
// is told resumed: false and everything anew. So is everybody after a restart.
//
// # Inbox
//
// The deliver stage says whose inbox has changed (Sessions.InboxChanged). A few
// workers, who exist while there is something to do, then ask for the changes since
// the cursor that the phone was last given, and send them. Per session one question
// is under way at a time, the phone's own included, so that the answers' cursors
// follow each other.
//
// # Crowds
//
// Everybody may come at the same moment: after a restart, after an outage of a
// network. Sockets are bounded (Limits.MaxSessions), and so are the hellos that are
// answered at a time (Limits.MaxHellos) and those that wait for their turn; whoever
// is beyond is told a time of its own, one after the other (Limits.ReturnRate), and
// none of them has cost a look into the store. At the end of Run all phones that
// know goaway are given such times too. When there is no room for another socket,
// phones whose app is in the background are asked to make some.
//
// # What phones watch
//
// Of each install the gateway keeps what its phone was told to watch: the bubble,
// the ids of the regions, what they were chosen by (geo.Slots). Wherever the phone
// is heard, one comparison tells whether that still holds; if not (it left the
// bubble, a place changed, the OS refused some, permissions or capabilities are
// others, a day has passed) the next plan goes out on the socket or in the answer
// to the very POST. It is not kept over a restart: the first word of a phone brings
// a plan. The exit of a bubble is an item like others and enters the log, where its
// region names no place.
//
// Who does not know bubbles gets the nearest circles, as in the first version of
// the protocol.
//
// # When the log does not answer
//
// A broker can be away for a minute while the phones are there. A session lives
// through that: what the log has taken stays with it and is acknowledged when it
// is durable, once; after Limits.StallAfter the phone is asked to send nothing
// more for a while (error 111 about no frame), what it sends all the same is
// refused with the time to come again, and pings go on. POSTs and hellos, which
// wait for their answer, are told 100 with that time (503 and Retry-After), those
// that come later at once and without taking anything. So what waits does not
// grow: per phone by its credit, in all by Limits.MaxWaiting.
//
// It is judged per slot of keys (engage.Slots), because partitions fail one by
// one: a slot in which something waits and nothing has been answered for so long
// is stalled, and its next answer ends that. A POST that was told to wait may land
// yet; it is sent again under the same (install, seq), which takes effect once.
//
// The times to come again are given out one after the other, so that a crowd
// comes back at Limits.ReturnRate and not in one moment.
//
// # Closing
//
// A session that is closed for a fault of its own first gets the answers to what
// was taken before, then the error frame, then the close frame; then what the
// phone still sends is thrown away for at most a second, so that the code
// reaches it in spite of unread bytes.
package ingest
