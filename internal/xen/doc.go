// Package xen is the contract with Xen's toolstack: what a hotplug script is
// called with, what xl wrote about a vif in xenstore, and how the outcome is
// told.
//
// It reads and writes xenstore, and turns text of others into checked values.
// It does not touch interfaces, choose a network or a policy, or know the
// daemon; nor does it watch xenstore: netlink says what comes and goes.
//
// # A call
//
//	ParseCall   arguments and environment → Call: what to do, to which vif
//	Dial        a connection to xenstored
//	ReadVif     what xl wrote → Vif
//	Connected   the guest may use it         (after online alone)
//	Failed      why it may not; xl prints it (after online and add)
//
// The contract is that of xl's own scripts (tools/hotplug/Linux in Xen's
// sources: vif-common.sh, xen-hotplug-common.sh) and of libxl, which calls them
// (libxl_linux.c, libxl_nic.c, libxl_device.c).
//
// # Foreign text
//
// All of it is foreign: a value may hold 4096 bytes of anything, a path, shell
// text, newlines. What is returned without error has passed a parser that
// admits what it knows and no more. An error repeats no more than 64 bytes of a
// value, quoted and on one line.
//
// # Threads
//
// A Client may be used from any goroutine; its requests take turns. The rest
// are values and functions of their arguments.
//
// # Failure
//
// A value that can't be right is a *ValueError. A request that failed is a
// *fs.PathError: a key that does not exist is fs.ErrNotExist, what xenstored
// says is a syscall.Errno, what breaks the protocol some other error. No request
// takes longer than its context or five seconds, whatever xenstored does. After
// a late or broken answer the connection is given up, because what comes next
// on it can't be told apart; dial again.
package xen
