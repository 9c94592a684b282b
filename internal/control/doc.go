// Package control is the daemon's API: what goes over its socket, the server
// and the client. It is HTTP/1.1 with JSON under /v1/ on a unix socket, and
// nothing else: no profiler, no metrics, no TCP.
//
// It knows nothing of networks and ports but their shapes. The daemon
// implements Switch; what a call means and whether it may be is the daemon's
// to say, with Errors that carry a code and a hint to whoever called.
//
// The server runs one goroutine per connection and calls the Switch from
// several at once. Connections, bodies, headers and times are bounded, and
// within the bounds who dawdles makes way for who does not (bound.go). A call
// that panics is answered with 500 and logged; the daemon lives.
package control
