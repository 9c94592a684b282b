// Package filter is what a guest's port refuses: frames that speak for somebody
// else, messages that only routers, DHCP servers or bridges may send, and storms.
//
// It looks at one frame at a time and says why it goes no further. It does not
// know ports, VLANs or who is trusted, does not forward or count, and reads no
// clock: time is an argument, in seconds for a Guard and nanoseconds for a
// Storm, of a clock that does not run backwards.
//
// # What Ingress refuses
//
// The first that fits counts. mac and mac+ip are the words of Antispoof.
//
//	reason      when          what
//	bpdu_guard  BPDUGuard     to the group address of 802.1Q or of PVST+
//	spoof_mac   mac           Ethernet source, or the client's MAC in a DHCP request
//	vlan_denied any           more than four tags and SNAP headers on each other
//	malformed   any           a tag, IPv4 or IPv6 header that is cut or contradicts itself
//	spoof_arp   mac           ARP, RARP: sender's MAC; ND: link-layer address options
//	            mac           ARP that is not IPv4 over Ethernet; ND that is cut or fragmented
//	            mac+ip        ARP: sender's address; ND: source, NA's target, DAD's target
//	ra_guard    RAGuard       router advertisement, redirect; a header chain that hides its end
//	dhcp_guard  DHCPGuard     to a DHCP client's port; a server's message to a relay
//	            DHCPGuard     a fragment of UDP that hides its ports
//	spoof_ip    mac+ip        any other IPv4 or IPv6 source
//
// A frame is looked at the way its receivers do. So tags (802.1Q, 802.1ad,
// 0x9100) and LLC/SNAP headers are looked through, whatever the length field
// says: Linux has SNAP for AppleTalk and IPX alone (net/802/psnap.c), but other
// systems take IP out of it, and Wi-Fi bridges turn it into Ethernet II
// (CERT VU#855201, CVE-2021-27853 and its kin). DHCP clients that read raw
// sockets, and all of DHCPv6 (RFC 8415, 7.2), look at the destination port
// alone, so the source port of a server's message is no matter here. Protocols
// other than ARP and IP pass.
//
// # Which addresses are a guest's
//
// With Policy.IP: these and no others, in either family. A guest that is to use
// IPv6 then needs its link-local address among them.
//
// Without: what DHCP gave it, seen in a server's answer (Leased) or told by our
// own server (Allow), and the link-local address that follows from its MAC
// (RFC 4291, appendix A), without which there is neither ND nor DHCPv6. Nothing
// else can be proved: a self-made address (SLAAC, RFC 7217, RFC 8981) may be
// anybody's, and a forged link-local address may be the router's. A guest that
// makes its own needs Policy.IP, or mac alone.
//
// The unspecified address passes where a station has none yet: ARP requests
// (RFC 5227) and DHCP requests in IPv4; in IPv6 router solicitation, MLD and,
// for the guest's own address only, duplicate address detection.
//
// # IPv6 header chains and fragments
//
// A chain of up to eight extension headers is followed (RFC 7113). What does not
// show its upper-layer header is refused, as RFC 7112 lets anyone do; the reason
// is ra_guard, else dhcp_guard, else spoof_arp, by which guard is on.
//
//   - ND never comes with a Fragment header (RFC 6980), an atomic one (RFC 6946)
//     included, and is refused with one.
//   - A fragment other than the first passes if its source may: without its
//     first, which was looked at, it comes to nothing. A receiver that lets
//     fragments overlap (before RFC 5722) could still be given another chain, so
//     behind the Fragment header of a first fragment no extension header but AH
//     may stand, nor two Fragment headers in one packet.
//   - ESP, AH that a receiver has no key for, and unknown upper layers can't
//     reach ND or DHCP there, and pass. Tunnels (6in4, GRE) are the inner
//     network's matter.
//
// # Leases
//
// A guest can have a machine outside that sends it forged server messages. What
// it can't do is make a router send one to an address that is not its own. So a
// DHCPACK counts only if it is sent to the address that it gives, or to
// 255.255.255.255; a DHCPv6 Reply only if it is sent to the guest's link-local
// address, which no router forwards to (RFC 4291, 2.5.6). The caller passes
// frames of trusted ports alone.
//
// A lease counts until its end and a minute more. It does not end with a
// DHCPRELEASE, which a guest can write so that the server reads it and we do
// not. It ends when the server gives the address to another: Leased says when an
// address is new, and the caller then calls Revoke of the network's other
// guards. Whom the server takes a client for is the server's business: one that
// goes by client identifiers and not by MACs can be lied to.
//
// # Threads
//
// Ingress, and a Storm, belong to the one worker that reads the port. All else
// of a Guard may be called from any goroutine. Nothing that is called per frame
// locks or allocates; a mutex is taken when a lease is learned.
//
// # Failure
//
// Ingress returns a frame.DropReason. Texts that can't be right give an *Error
// with the place and a hint. What Leased can't read teaches nothing.
package filter
