package frame

// DropReason says why a frame went no further. Its word is the counter's name,
// the JSON key, the metric's label and the manual's row; words never change.
type DropReason uint8

// Pass is the zero value: the frame goes on.
const Pass DropReason = 0

// The reasons. The stage that gives each is in docs/architecture.md.
const (
	Malformed      DropReason = iota + 1 // under 14 bytes, null or group source MAC, a header that contradicts itself
	Reserved                             // to 01:80:c2:00:00:01-0f, which a bridge never forwards (802.1Q-2018, 8.6.3)
	VLANDenied                           // the port does not carry the frame's VLAN
	SpoofMAC                             // its source MAC is not the guest's
	SpoofIP                              // its source IP address is not the guest's
	SpoofARP                             // an ARP or ND message that speaks for another's address
	BPDUGuard                            // a spanning-tree message from a port that must not send one
	RAGuard                              // a router advertisement or redirect from a guest
	DHCPGuard                            // a DHCP server's message from a guest
	Storm                                // more broadcast, multicast or unknown unicast than the port may send
	Isolated                             // from one isolated port to another
	Rate                                 // more than the port's rate limit and its queue let pass
	NoDestination                        // nobody else is there to take it
	SamePort                             // its destination is behind the port it came from
	NoRoute                              // a packet that would leave, or enter, a network without a way out
	TTL                                  // its time to live is used up
	NATExhausted                         // no session, or no port, is free for it in the NAT
	NATNoSession                         // neither a NAT session nor a port forward is for it
	RingFull                             // the kernel's receive ring was full, or the frame did not fit
	TxFull                               // the interface took no more
	MTU                                  // larger than the egress interface's MTU
	UnsupportedGSO                       // a GSO kind that neither the kernel nor we can segment
	numReasons
)

// NumReasons is the size of an array indexed by DropReason.
const NumReasons = int(numReasons)

var reasonWords = [NumReasons]string{
	Pass:           "pass",
	Malformed:      "malformed",
	Reserved:       "reserved",
	VLANDenied:     "vlan_denied",
	SpoofMAC:       "spoof_mac",
	SpoofIP:        "spoof_ip",
	SpoofARP:       "spoof_arp",
	BPDUGuard:      "bpdu_guard",
	RAGuard:        "ra_guard",
	DHCPGuard:      "dhcp_guard",
	Storm:          "storm",
	Isolated:       "isolated",
	Rate:           "rate",
	NoDestination:  "no_destination",
	SamePort:       "same_port",
	NoRoute:        "no_route",
	TTL:            "ttl",
	NATExhausted:   "nat_exhausted",
	NATNoSession:   "nat_no_session",
	RingFull:       "ring_full",
	TxFull:         "tx_full",
	MTU:            "mtu",
	UnsupportedGSO: "unsupported_gso",
}

func (r DropReason) String() string { return reasonWords[r] }
