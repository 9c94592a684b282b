package lease

import (
	"fmt"
	"net/netip"
	"time"

	"gxswitch/internal/frame"
)

// Bounds and defaults.
const (
	DefaultTime    = 12 * time.Hour
	DefaultPerPort = 16
	MaxRange       = 1 << 16 // addresses
	MinTime        = time.Second
	MaxTime        = (1<<32 - 2) * time.Second // 2^32-1 is for ever in DHCP (RFC 2131, 3.3)

	offerTime = 30 * time.Second
	blockTime = 10 * time.Minute
	// shortest is what a client can ask for where the configuration has more:
	// one that asks for less keeps the server busy.
	shortest = time.Minute
)

// Config is a network's.
type Config struct {
	Subnet      netip.Prefix  // of the guests; host bits are ignored
	First, Last netip.Addr    // the range; the zero values for none
	Time        time.Duration // 0 for DefaultTime
	Hosts       []Host
	Self        []Host       // the gateway's names, the first of which its addresses bear
	Never       []netip.Addr // besides Self's and Subnet's first and last, what nobody is given

	// PerPort is how many addresses one port may hold, 0 for DefaultPerPort.
	PerPort int
	// PinnedTo names the port that is configured to have the address, "" for
	// none. It may be nil, and must not call the Table.
	PinnedTo func(netip.Addr) string
	// Gone reports whether a port is no more: a virtual machine that is started
	// anew has another. It may be nil, for never, and must not call the Table.
	Gone func(port string) bool
}

// Host is a reservation: a name, the MAC and the addresses that go with it. A
// Host without a MAC is only a name, one without an IPv4 address has its name
// wherever it is.
type Host struct {
	Name  string // one label
	MAC   frame.MAC
	Addrs []netip.Addr
}

func (h *Host) addr4() netip.Addr {
	for _, a := range h.Addrs {
		if a.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// view is a Config made ready.
type view struct {
	Config
	byMAC  map[frame.MAC]*Host
	byName map[string]*Host
	byAddr map[netip.Addr]*Host
	never  map[netip.Addr]bool
	size   uint32 // of the range
}

func newView(c Config) (*view, error) {
	v := &view{
		Config: c,
		byMAC:  map[frame.MAC]*Host{},
		byName: map[string]*Host{},
		byAddr: map[netip.Addr]*Host{},
		never:  map[netip.Addr]bool{},
	}
	if v.PerPort == 0 {
		v.PerPort = DefaultPerPort
	}
	if v.Time == 0 {
		v.Time = DefaultTime
	}
	if v.Time < MinTime || v.Time > MaxTime {
		return nil, fmt.Errorf("lease time %s: want %s to %s", c.Time, MinTime, MaxTime)
	}
	if !c.Subnet.IsValid() || !c.Subnet.Addr().Is4() {
		return nil, fmt.Errorf("subnet %s: want an IPv4 subnet, as in 192.168.60.0/24", c.Subnet)
	}
	v.Subnet = c.Subnet.Masked()
	if err := v.setRange(); err != nil {
		return nil, err
	}
	for _, a := range c.Never {
		v.never[a] = true
	}
	// In a /31 both are stations' (RFC 3021).
	if v.Subnet.Bits() < 31 {
		v.never[v.Subnet.Addr()] = true
		v.never[lastOf(v.Subnet)] = true
	}
	for _, h := range c.Self {
		for _, a := range h.Addrs {
			v.never[a] = true
		}
		if h.Name != "" {
			v.byName[h.Name] = &h
		}
	}
	return v, v.setHosts()
}

func (v *view) setRange() error {
	if !v.First.IsValid() && !v.Last.IsValid() {
		return nil
	}
	for _, a := range []netip.Addr{v.First, v.Last} {
		if !v.Subnet.Contains(a) {
			return fmt.Errorf("range %s-%s: %s is not in the subnet %s", v.First, v.Last, a, v.Subnet)
		}
	}
	if v.Last.Less(v.First) {
		return fmt.Errorf("range %s-%s: ends before it begins; exchange the two", v.First, v.Last)
	}
	v.size = number(v.Last) - number(v.First) + 1
	if v.size > MaxRange {
		return fmt.Errorf("range %s-%s: has %d addresses, the most are %d", v.First, v.Last, v.size, MaxRange)
	}
	return nil
}

func (v *view) setHosts() error {
	for _, h := range v.Hosts {
		if h.Name != "" {
			if Label(h.Name) != h.Name {
				return fmt.Errorf("host %q: a name has 1 to 63 letters a-z, digits and hyphens, no hyphen first or last", h.Name)
			}
			if v.byName[h.Name] != nil {
				return fmt.Errorf("host %s: the name is taken", h.Name)
			}
			v.byName[h.Name] = &h
		}
		if !h.MAC.IsZero() {
			if other := v.byMAC[h.MAC]; other != nil {
				return fmt.Errorf("host %s: %s is the MAC of host %s", h.Name, h.MAC, other.Name)
			}
			v.byMAC[h.MAC] = &h
		}
		for _, a := range h.Addrs {
			if v.never[a] {
				return fmt.Errorf("host %s: %s is the gateway's, or no station's", h.Name, a)
			}
			if other := v.byAddr[a]; other != nil {
				return fmt.Errorf("host %s: %s is the address of host %s", h.Name, a, other.Name)
			}
			v.byAddr[a] = &h
		}
	}
	return nil
}

// pooled reports whether the client may have the address without anybody having
// reserved it for the client.
func (v *view) pooled(a netip.Addr, c *Client) bool {
	if v.size == 0 || a.Less(v.First) || v.Last.Less(a) || v.never[a] {
		return false
	}
	if h := v.byAddr[a]; h != nil && (h.MAC != c.MAC || h.MAC.IsZero()) {
		return false
	}
	if v.PinnedTo == nil {
		return true
	}
	port := v.PinnedTo(a)
	return port == "" || port == c.Port
}

// gone reports whether the port is no more.
func (v *view) gone(port string) bool { return v.Gone != nil && v.Gone(port) }

// number and addr are an IPv4 address and its place among all.
func number(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func addr(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

func lastOf(p netip.Prefix) netip.Addr {
	return addr(number(p.Masked().Addr()) | uint32(1<<(32-p.Bits())-1))
}
