// Package realxen is a test alone: xl creates domains on a real Xen, in a real
// dom0, with vif-gxswitch for their script.
//
// It runs inside that dom0, where `make test-xen` brings it (xen/bench), and takes
// it for its own: it starts the daemon, makes domains and ends them. So its files
// have the build tag realxen. What needs no hypervisor is tested in
// internal/behaviour, with a xenstored of our own.
//
// Time is slow and uneven there, since the processor is emulated: a figure shows
// that a limit holds, not how fast anything is.
package realxen
