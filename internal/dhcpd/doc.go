// Package dhcpd is a network's DHCP server (RFC 2131) on the host's leg: it
// answers guests out of a lease.Table, keeps that on disk, and tells who asks
// which leases begin and end.
//
// It serves stations on the link itself. It is no relay and serves none, has no
// BOOTP, no DHCPv6, and does not update other people's DNS.
//
// # The wire
//
// Messages come and go as whole Ethernet frames by a packet socket on the leg.
// That is what makes three things certain. Nothing comes from, or goes to,
// another interface. Every checksum is computed here, so a client that reads raw
// sockets never sees one that the network card was meant to finish, whatever the
// offloads. And a reply reaches a client that has no address yet.
//
// A frame's source must be the MAC address that the message speaks for, as
// switches with DHCP snooping demand: else a guest could release or decline
// another's address.
//
// Beside it a UDP socket, bound to the leg as well, reads nothing. It keeps the
// host's kernel from answering that port 67 is unreachable.
//
// # What is answered
//
//	message               answer
//	DISCOVER              OFFER, once a probe found the address unused; nothing if none is free
//	REQUEST, selecting    ACK; NAK if the address is not for this client; nothing if it chose another server
//	REQUEST, rebooting,   ACK; NAK if the address is not for this client; where the table does not
//	  renewing, rebinding   know the lease, ACK if the address is free: it lost it, the client did not
//	DECLINE               nothing; the address rests for a while
//	RELEASE               nothing; the client gets the same address later if it can
//	INFORM                ACK without an address
//
// With Config.Shared other servers may be on the network: then nothing is said
// of leases that this one does not know.
//
// An address that no configuration gives is probed by ARP before it is offered
// (RFC 5227, 2.1.1), twice within 200 ms: a station with a fixed address, or a
// guest of a lost table, would be there. Who answers for more addresses than a
// port may have is not believed, see package lease.
//
// # The file
//
// A lease is in the file before its client knows of it, so kill -9 loses none.
// The file is replaced in one step, and many clients at a time share one write.
// It is synced to the disk after the answer, not before it: a disk that is busy
// with guests takes seconds for that, a client gives up after few. So a power
// cut may lose the leases of the last moment; their clients claim them when they
// come back, and the probe keeps them from being given away meanwhile.
//
// A file that can't be read is kept aside under another name, and the server
// begins without leases. One that can't be written is logged, and clients are
// answered all the same.
//
// # Threads
//
// One lock, in which nothing waits for a disk or the network. Switch.Changed is
// called without it and may take its time, but not wait for Close; the other
// functions of Switch are called with it and must not call the Server.
package dhcpd
