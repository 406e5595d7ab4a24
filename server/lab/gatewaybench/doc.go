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
package gatewaybench
