// Package gatewaybench measures what a connection and a message cost a server of
// the SDK protocol: it is the load generator of `footfall-lab bench gateway`, and
// the bare server that the gateway is compared with. Like everything in lab it sees
// what a phone sees; that command starts the processes and reads what they took.
//
// # The shapes
//
// Idle: so many phones that have registered, agreed to positions, and say nothing.
//
// Telemetry: so many phones that send a message of about 150 bytes (Message) at a
// rate each, whatever the server does; what is measured of an ack is the time from
// right before the message is written until its ack is read. Phones walk among
// circles in cities (Fences).
//
// Saturation: the same phones, each with Window messages under way all the time.
//
// # The bare server
//
// Bare upgrades with gorilla's small buffers (512 bytes to read, a pool to write),
// lets go of the HTTP server's, and answers each message with as many bytes as the
// gateway's ack has. It does nothing else: no decoding, no log, no state. Its figures
// are what sockets, goroutines and system calls cost on this machine at that moment.
//
// # What was measured, and what is missed
//
// Goals: 12 KB of resident memory per idle phone, 10 µs of CPU per message, p99 of an
// ack 5 ms. None is met. One run on 55b7586, two cores with nothing else to do, 2,000
// phones of 10 messages/s, 100,000 geofences, 10 s; bare is the server beside it in the
// same run:
//
//	                                  gateway      bare
//	resident bytes per connection      19,930     7,020
//	live heap of these                  6,800     1,960
//	CPU µs per message                   49.9      16.4
//	ack ms, p50 and p99            3.2 and 148   0.5 and 2.2
//	messages/s at saturation           79,200    84,600
//	taken by the machine's host         0.3 %     0.1 %
//
// # What to judge a run by
//
// The host of a virtual machine keeps CPU time for others (host_took), and other work on
// the machine shows nowhere: in both cases the server falls behind, does many messages
// at each wake-up, and its CPU per message looks better than it is. The same program
// took 32 to 57 µs within an hour. Compare programs in turn, at a rate that they keep up
// with: at 5 messages/s of 2,000 phones among 20,000 geofences, appends that begin apart
// (eventlog) took it from 72 and 74 µs to 61 and 62.
//
// # Where an ack waits
//
// By execution traces (--trace), in which a goroutine that can run waits for 0.1 ms
// while all is well: the server takes one of the two cores at this load and the generator
// more than half of the other, so that whatever else there is to do makes a queue.
//
//   - A collection, once in 10 s: 180 to 240 ms in which the sessions spend half of the
//     server's time on mark assists and the last of 500 to 700 waits for 60 ms. Every
//     goroutine's first allocation of a collection makes it mark 64 KB, and there are
//     2,000 of them: they do most of the work, whenever it begins. That a collection
//     begins earlier and has more room was tried and changed nothing in three runs in
//     turn; that fewer are needed (GOGC=400) takes 3 KB more per phone. A session
//     allocates 305 bytes a message and gorilla's reader 8: all of it would have to go.
//   - A save of states, 100 ms of one core every 1.2 s: waits of 1 to 3 ms and up to 16.
//     It yields every 8 documents now, not every 32 and 64: stretches with a mean wait
//     above 0.6 ms went from 45 to 18 of the 500 that a trace of 10 s has.
//   - The machine: the same binary took 41 and 50 µs per message within ten minutes
//     (host_took 0 both times). At 55 both cores are full all the time, p50 is 5 ms and
//     p99 68, without any collection.
//
// So CPU per message decides, here as well.
//
// # Where the CPU goes
//
// Of a profile of 45 µs per message: writing acks to sockets 8.3, reading them 4, judging
// a batch and handing it to the log 6, the states 11.4 (the tracker 4.6, who is near 1.9),
// the log 6.5 (JetStream 2.5, telling those who wait 2.5), saving states 2.2, the
// collector and allocation 4.
//
// # Where the memory goes
//
// Of 19 KB per idle phone, 6.4 live in the heap, 6.5 are room in spans that the crowd's
// arrival has left behind (its garbage is 50 KB a phone, most of it the HTTP server's
// buffers and the saves), 4.1 are the stack of the reading goroutine, which the bare
// server has too, 1.3 are the runtime's.
package gatewaybench
