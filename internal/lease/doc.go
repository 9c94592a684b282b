// Package lease says which station of a network has which IPv4 address, until
// when, and under which name: the table that the DHCP server writes and the DNS
// server reads.
//
// It is a table and its rules. It sends nothing, opens no file, starts no
// goroutine and reads no clock: time is an argument. What must outlive the
// program goes through Encode and Decode.
//
// # Who gets which address
//
// A station is its MAC address. The client identifier of DHCP (option 61) is not
// looked at: copies of one disk image share it, and the boot loader and the
// system of one guest do not. The first of these that fits:
//
//	Client.Fixed     the address its port is configured to have. It belongs to
//	                 whoever is behind that port, so a guest that comes back with
//	                 another MAC takes it over; there is nothing else for it
//	Host.Addrs       the reservation for its MAC; while somebody else still has
//	                 the address, what follows
//	its own          the address it has, or had and nobody took since
//	Client.Requested where it is free
//	the range        beginning at a place that follows from the MAC, so that a
//	                 station gets the same address even if the table was lost;
//	                 addresses that nobody had before those that somebody had
//
// An address is in the table at most once, and that is what keeps it from being
// given twice:
//
//	state    comes from                       ends by
//	offered  Offer                            Bind; 30 s; Withdraw; Conflict
//	bound    Bind                             its time; Release; Decline; Delete; a new Bind elsewhere
//	blocked  Conflict, Decline                10 min
//	past     a bound one that ended           anybody who needs the address
//
// # Guests are hostile
//
// A guest can speak for as many MACs as it likes. So a port has at most
// Config.PerPort addresses that are offered, bound or blocked; those that the
// configuration gives it are not counted. An address that is blocked counts for
// the port that said it is in use: of one that declines everything, or answers
// every probe, no more is believed than its share.
//
// A name that a guest asks for becomes a single label of letters, digits and
// hyphens (see Label). It is given only while nobody else has it: no reservation,
// no name of the gateway, no live lease. Names that resolvers and browsers trust
// blindly (wpad, isatap, localhost) are nobody's.
//
// # Threads
//
// Everything may be called from any goroutine; one lock guards the table.
//
// # Failure
//
// The errors of Offer and Bind are verdicts, for the caller to answer or to be
// silent. Configure refuses a configuration that contradicts itself and keeps
// the old one.
package lease
