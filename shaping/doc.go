// Package shaping holds traffic to a rate: it says which frames pass now, keeps
// those that must wait, and says when they may go.
//
// It knows bytes, flows and time, but not frames: what waits is of any type.
// Nor does it know ports or timers. It opens no socket, starts no goroutine and
// reads no clock: time is an argument, in nanoseconds of any clock that does not
// run backwards.
//
// # The parts
//
//	Limit   a rate and an interval, in the words of xl's rate=
//	Bucket  exact token bucket: may so many bytes pass now, and if not, when?
//	Shaper  a port in one direction: a Bucket, and a queue for what must wait
//
// # The way of a frame
//
//	Pass ──yes──► it goes on, from the memory it is in
//	 │ no
//	Enqueue ──► a queue of its flow ──► Drain ──► it goes on, not before Due
//	                  │                   │
//	                  └── full: drop      └── waited too long: drop (CoDel)
//
// # The queue
//
// A limit without a queue (policing) starves TCP, which sends in bursts; a long
// queue makes everybody else wait. So the queue is FlowQueue-CoDel (RFC 8290):
// flows take turns by bytes, a flow that just begins goes first, and CoDel
// (RFC 8289) keeps each flow's queue short. A ping, an ACK or a DNS query passes
// a saturated limit in about the time of one frame.
//
// It holds 40 ms of the rate, at least 24 KiB (sixteen frames) and at
// most 8 MiB. A newcomer to a full queue takes the place of the oldest frame of
// the flow that holds the most, so a flood pays for itself. Each Shaper has a
// queue of its own: a port that is full costs no other port a frame.
//
// A super-frame of 64 KiB is 52 ms at 10 Mb/s, and while it passes nothing else
// does. Cut says which are too long to go in one piece.
//
// # Threads
//
// Nothing here is safe for concurrent use: one lock, of the caller, for a Shaper.
// A Limit is a value.
//
// Pass costs about 10 ns and nothing allocates, but for a queue that grows to
// its bound the first time it fills.
//
// # Failure
//
// ParseLimit returns an *Error with the place, and a hint. Dropped frames are
// handed back, and counted.
package shaping
