// Package fastpath is the switch's engine in the kernel: an eBPF program at the
// ingress of ports (switch.bpf.c) that forwards what the switch in user space
// has decided before, the maps that tell it, and the way back for all the rest.
//
// It is not a switch of its own. It learns nothing, floods nothing and has no
// policy but what SetRules and Put say. A frame that it can't decide goes, with
// the number of its port, to one of the Punts, which the switch reads like any
// other port. A port whose policy can't be said in Rules has none that let it
// forward, and all its frames go that way.
//
// What holds, whatever state the maps are in: a frame is forwarded only if its
// source is known at the very interface that it came from, its destination at an
// interface that is still that port's, both are in one network, and both ports'
// rules let it pass. Stale addresses cost a detour, not a leak.
//
// Addresses lie in memory that the program shares: Put and Delete hold from the next
// frame on, on every processor, and need no system call.
//
// # Flows
//
// Packets to a gateway's MAC address are forwarded, and translated, where a Flow
// says what they become (flows.bpf.h). A Flow holds in one era, which NextEra ends,
// and for the life of its Session, which EndSession ends: both are stores to memory
// that the program shares, and need no system call. What the program has seen of a
// session lies in the same memory.
//
// # Order
//
// The frames of a flow that come while its first are still on their way through
// user space overtake those. That happens once, when an address is learned or
// has moved; TCP begins with one frame each way, and an ARP exchange before.
//
// # Survival
//
// Maps and links are pinned in a bpffs, under a name that is made of the run
// directory and the network namespace. They go on forwarding when the process
// is gone. The next one adopts them: numbers of networks and ports stay, and so
// do the addresses. Where there is no bpffs the engine works and dies with the
// process.
//
// # Threads
//
// All methods may be called from any goroutine, but that a Punt, like every
// ports.Port, is read by one at a time.
//
// # Failure
//
// Open says in words why the kernel can't. A port that can't be attached is an
// error and nothing is left behind; the caller takes another engine for it. An
// address for which there is no room stays with user space and is counted.
package fastpath
