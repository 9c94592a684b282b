// Package fdb is a network's forwarding database: it says behind which port a
// station, a (VLAN, MAC) pair, was last heard, and forgets stations that have
// fallen silent.
//
// It is a table and its rules. It does not decide what happens to a frame,
// does not know what a port is beyond a number, opens no socket, starts no
// goroutine and reads no clock: time is an argument, in seconds of any clock
// that does not run backwards. Only the differences count, so every caller of
// one Table must use the same clock.
//
// # Entries
//
//	kind     comes from      moves   ages   can be evicted
//	dynamic  Learn           yes     yes    yes
//	static   an operator     no      no     no
//	local    the switch      no      no     no
//
// # The limit, and why eviction is fair
//
// A guest chooses its source addresses, so a guest can invent as many as it
// can send frames. The table is therefore bounded, and a bound alone would turn
// the attack around: refuse newcomers when full, and the attacker's addresses
// lock everybody else's out; replace the oldest of all, and they push everybody
// else's out. In both cases the victims' traffic becomes unknown unicast, is
// flooded, and the attacker reads it, which is what the flood was for.
//
// So a newcomer to a full table takes the place of an entry of the port that
// has the most dynamic ones (its own port where that is one of the largest).
// A port that floods soon is the largest, and from then on replaces only its
// own addresses. No port loses an entry while another has more: with n ports
// active, a port keeps its first limit/n addresses, whatever the others do.
// Open vSwitch came to the same rule (lib/mac-learning.h).
//
// Within that port the one to go is the entry longest without a frame, nearly:
// see evict. A port may have a limit of its own as well; at that limit it
// replaces its own entries although the table has room.
//
// A table full of static and local entries learns nothing more, and says Full.
//
// # Threads
//
// Everything may be called from any goroutine. Lookup, and Learn of a station
// that is known where it was heard, take no lock, wait for nobody and allocate
// nothing: they read two cache lines, and write one word a second and station,
// the stamp. All else that changes an entry takes the table's one mutex, and
// readers go on meanwhile, also while the table grows.
//
// A reader gets an answer that was true at some moment of its call. It may miss
// a station that is being learned or removed; it never misses one that stays,
// and never returns the port of another station.
//
// # Failure
//
// Learn cannot fail, only decline, and its Verdict says why. Add returns
// ErrExists or ErrFull, for the caller to wrap with the names it knows.
package fdb
