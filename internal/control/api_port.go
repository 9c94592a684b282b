package control

import (
	"fmt"
	"net/netip"

	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
	"gxswitch/shaping"
)

// Port is one row of GET /v1/ports. A NIC that several networks share is a port
// of each, so port and network together say which one it is.
type Port struct {
	Name       string    `json:"port"`
	Network    string    `json:"network"`
	Role       string    `json:"role"`    // guest, uplink or host
	State      string    `json:"state"`   // up, down or absent
	IfIndex    int       `json:"ifindex"` // 0: absent
	MAC        frame.MAC `json:"mac"`     // the guest's, "" if not told
	MTU        int       `json:"mtu"`
	VLAN       string    `json:"vlan"`
	RateFrom   string    `json:"rate_from"`    // "" without a limit
	RateFromBy string    `json:"rate_from_by"` // gxswitch or netback
	RateTo     string    `json:"rate_to"`
	ShaperFrom *Shaper   `json:"shaper_from,omitempty"` // nil without a limit of gxswitch's own
	ShaperTo   *Shaper   `json:"shaper_to,omitempty"`
	IP         []string  `json:"ip"`          // told; never null, nor is LearnedIP
	LearnedMAC frame.MAC `json:"learned_mac"` // of the first frame, where antispoof is and no MAC was told
	LearnedIP  []string  `json:"learned_ip"`  // from DHCP
	AntiSpoof  string    `json:"antispoof"`
	RAGuard    bool      `json:"ra_guard"` // as it is in force, so are the other two
	DHCPGuard  bool      `json:"dhcp_guard"`
	BPDUGuard  bool      `json:"bpdu_guard"`
	Storm      string    `json:"storm"`     // "" without a limit
	MACLimit   int       `json:"mac_limit"` // 0: none
	Isolated   bool      `json:"isolated"`
	Label      string    `json:"label"`
	Engine     string    `json:"engine"`
	// EngineReason says why it is afpacket, where the daemon's is ebpf.
	EngineReason string `json:"engine_reason,omitempty"`

	Source  string  `json:"source"`            // "config" or "runtime"
	Xen     *XenNIC `json:"xen,omitempty"`     // of a port that a hotplug call attached
	Problem string  `json:"problem,omitempty"` // why a present interface is not attached
}

// Shaper is what a rate limit does, in one direction.
type Shaper struct {
	CreditBytes    uint64 `json:"credit_bytes"` // that may pass at once, refilled each interval
	IntervalUS     int64  `json:"interval_us"`  // microseconds
	PassedPackets  uint64 `json:"passed_packets"`
	PassedBytes    uint64 `json:"passed_bytes"`
	DroppedPackets uint64 `json:"dropped_packets"`
	DroppedBytes   uint64 `json:"dropped_bytes"`
	QueuedPackets  int    `json:"queued_packets"` // that wait now
	QueuedBytes    int    `json:"queued_bytes"`
	ThrottledMS    int64  `json:"throttled_ms"` // while something waited
}

// PortSpec is the body of POST /v1/ports; with PATCH /v1/ports/P, only the
// fields that are present change.
type PortSpec struct {
	Name      string            `json:"port"`
	Network   string            `json:"network,omitempty"`
	MAC       *frame.MAC        `json:"mac,omitempty"` // "": not told
	MTU       *int              `json:"mtu,omitempty"`
	Label     *string           `json:"label,omitempty"`
	VLAN      *vlan.Set         `json:"vlan,omitempty"`      // "": the default
	RateFrom  *shaping.Limit    `json:"rate_from,omitempty"` // "" or "none": no limit
	RateTo    *shaping.Limit    `json:"rate_to,omitempty"`   // likewise
	IP        *[]netip.Addr     `json:"ip,omitempty"`        // []: not told. A nil slice in it says nothing, like nil
	Antispoof *filter.Antispoof `json:"antispoof,omitempty"`
	Isolated  *bool             `json:"isolated,omitempty"`
	Storm     *filter.StormRate `json:"storm,omitempty"`     // "" or "none": no limit
	MACLimit  *int              `json:"mac_limit,omitempty"` // 0: none
	RAGuard   *Guard            `json:"ra_guard,omitempty"`
	DHCPGuard *Guard            `json:"dhcp_guard,omitempty"`
	BPDUGuard *Guard            `json:"bpdu_guard,omitempty"`
}

// Guard says whether a guard is on.
type Guard string

// The answers.
const (
	GuardAuto Guard = "" // where antispoof is
	GuardOn   Guard = "on"
	GuardOff  Guard = "off"
)

// UnmarshalText implements encoding.TextUnmarshaler.
func (g *Guard) UnmarshalText(b []byte) error {
	switch v := Guard(b); v {
	case GuardAuto, GuardOn, GuardOff:
		*g = v
		return nil
	}
	return fmt.Errorf(`guard %q: want "on", "off" or "" (on where antispoof is)`, b)
}

// VLAN is one row of GET /v1/vlans?network=N: who carries a VLAN.
type VLAN struct {
	Network    string   `json:"network"`
	VLAN       int      `json:"vlan"`
	Untagged   []string `json:"untagged"` // ports that it leaves without a tag; never null, nor is Tagged
	Tagged     []string `json:"tagged"`
	RxPackets  uint64   `json:"rx_packets"`
	RxBytes    uint64   `json:"rx_bytes"`
	FDBEntries int      `json:"fdb_entries"`
}
