// Package dataplane is the switch: networks, ports, workers, and the one
// pipeline that every frame takes. Follow a frame through the files in the
// order it travels:
//
//	worker.go    wait, read a batch from the worker's ports
//	pipeline.go  sort (a NIC that networks share) → parse → admit (VLAN, guards)
//	pace.go      police: what exceeds the port's rate waits as a copy
//	pipeline.go  learn → decide {unicast | flood | drop}
//	gateway.go   frames for a gateway: routed, and offered to the kernel (flows.go)
//	deliver.go   egress checks → shape (pace.go) → a vector per egress port → write
//
// What the workers need to know about networks and ports is one immutable view
// (view.go) behind an atomic pointer, loaded once a batch; the methods of
// Switch (switch.go) replace it. Changing it never stops traffic.
//
// Threads: each worker is a goroutine locked to its thread that runs frames to
// completion. A port is read by one worker, which may change (balance.go), and
// written by all. Nothing in the path of a frame allocates, blocks, locks or reads
// the clock, but that a new address takes the lock of its network's table, and with
// it that of the kernel's addresses, a new lease that of its guard, and a frame from
// or to a port with a rate limit that of its pacer.
//
// Failure: a frame that goes no further is counted under a frame.DropReason at
// the port that it came from (or, where the egress interface is the cause, at
// that one). An error value exists only for the methods of Switch.
package dataplane
