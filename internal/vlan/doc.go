// Package vlan is a port's VLAN membership: which VLANs the port carries, which
// of them leave it without a tag, and to which one its untagged frames belong.
//
// It is a value and its grammar, which is that of xl's vif option
// (xl-network-configuration(5), "vlan"). It does not look at frames, keep a
// registry of VLANs, or know ports.
//
// # Grammar
//
// Terms, joined by "/":
//
//	N               tagged
//	Np              the PVID: untagged frames belong to it, and leave untagged
//	Nu              untagged at egress
//	A-B[u]          A to B
//	V+OFFxCOUNT[u]  V and COUNT more, OFF apart: 100+10x4 is 100, 110, … 140
//
// A number alone, "10", is an access port: 10p. There is exactly one PVID, no
// VLAN is named twice, and VLANs are 1 to 4094. A number has no leading zeros,
// which a shell that reads the same text would take for octal.
//
// The manual's text and its example differ by one about COUNT. The text is what
// counts here; Xen ships no script that reads the parameter and could decide it.
// A COUNT of 0 is an error: there are shorter ways to name one VLAN, and who
// writes it may mean none.
//
// # Threads
//
// A Set is immutable, and may be read from any goroutine. It has 1 KiB, so what
// is called per frame takes a pointer, and allocates nothing.
//
// # Failure
//
// Parse and UnmarshalText return an *Error, which points at the first character
// that can't be right and says how to mend it.
package vlan
