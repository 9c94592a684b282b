// Package gateway is layer 3 of a network for IPv4: what becomes of a frame that
// was sent to the gateway's own MAC address, inside by a guest or outside on the
// uplink. Routes and neighbours go in, verdicts come out.
//
// It learns no route and no neighbour, sends nothing and holds no packet back: the
// caller gives it tables, forwards the frames, and waits for neighbours that are
// not known yet. Sessions and the rewriting of ports are package nat's. Nothing is
// routed for IPv6: what is not IPv4 is the host's.
//
// # What becomes of a packet
//
// The first row that fits. G is an address of Config.Guests that is not the
// host's, H one of Config.Hosts, E the NAT's external and W its inside address.
//
//	from     packet                                           verdict
//	both     not IPv4                                         host
//	         header is cut, contradicts itself, wrong sum     malformed
//
//	inside   to E or W, with NAT                              what the NAT says
//	         to H                                             host
//	         to a multicast or broadcast address              host
//	         to or from 0/8, 127/8, 169.254/16, 240/4         no_route
//	         from a multicast or broadcast address            no_route
//	         not from G                                       spoof_ip
//	         to G                                             to inside
//	         no route by the uplink                           no_route, error
//	         else                                             to outside, through the NAT
//
//	outside  from G or H                                      spoof_ip
//	         to the broadcast address of guests               no_route (RFC 2644)
//	         to G, with NAT                                   no_route
//	         to G, from 0/8, 127/8, 169.254/16, 224/3         no_route
//	         to G                                             to inside
//	         with NAT                                         what the NAT says
//	         else                                             host
//
// What would go to a link may then still be refused, in this order. The host's own
// packets never are.
//
//	a source route, or options that contradict themselves     no_route, malformed
//	TTL used up                                               ttl, error
//	longer than the link's MTU, with DF                       mtu, error
//
// A packet is refused before it is changed, so that an error can show it as its
// sender sent it (RFC 1812, 4.3.2.3). Fragments are routed like other packets.
//
// # Errors
//
// A Verdict may have an ICMP error to send back. AppendError makes it, where the
// standards allow one and the limit has room for it.
//
// # Threads
//
// A Gateway, and the tables it is made of, never change, and may be used from any
// goroutine; a change is a new Gateway. What outlives it and does change is passed
// in: the NAT's sessions and the limit of errors, which take care of themselves.
//
// # Failure
//
// New says what is wrong with a Config. A packet that can't pass has a
// frame.DropReason.
package gateway
