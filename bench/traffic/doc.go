// Package traffic is the bench's own senders and receivers: raw frames at a
// given rate (generator.go) with a receiver that only counts (counter.go) or
// one that looks at every frame (verify.go); TCP, UDP with GSO, and requests
// with their responses through real sockets (tcp.go, gso.go, echo.go,
// probe.go).
//
// It knows endpoints and lanes, not arms: what lies between sender and receiver
// is not its business.
//
// Threads: everything that sends or receives at speed is a goroutine locked to
// a thread, pinned to a core where a core is named, and makes blocking system
// calls without Go's network poller. Such a thread ends with its goroutine, so
// that no pinning outlives it.
//
// Failure: an error says which socket or call; a receiver that could not keep
// up says so instead of calling it the switch's loss.
package traffic
