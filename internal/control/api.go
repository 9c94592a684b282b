package control

import (
	"fmt"
	"time"

	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
	"gxswitch/shaping"
)

// The shapes below are what the API and `-o json` show: one JSON value, stable
// snake_case keys. A key may be added; none changes its meaning.

// Status answers GET /v1/status.
type Status struct {
	Version      string `json:"version"`
	Engine       string `json:"engine"`                  // afpacket or ebpf
	EngineReason string `json:"engine_reason,omitempty"` // why it is not ebpf, where that was tried
	EngineFull   uint64 `json:"engine_full,omitempty"`   // how often an address found no room in the kernel
	UptimeS      int64  `json:"uptime_s"`                // seconds since the daemon was ready
	PID          int    `json:"pid"`
	Networks     int    `json:"networks"`
	Ports        int    `json:"ports"` // attached and absent, without host legs' inner ends
	Workers      int    `json:"workers"`
	Config       string `json:"config"` // the file in force, "" without one

	Problems []string `json:"problems,omitempty"` // of networks, and why ports have another engine; each with its name
}

// Network is one row of GET /v1/networks.
type Network struct {
	Name       string  `json:"network"`
	Mode       string  `json:"mode"`
	Uplink     string  `json:"uplink"`
	UplinkVLAN int     `json:"uplink_vlan"` // 0: none
	VLAN       string  `json:"vlan"`        // the uplink's, "" without an uplink or with uplink_vlan
	RateUp     string  `json:"rate_up"`     // of all guests together, outwards; "" without a limit
	RateDown   string  `json:"rate_down"`   // likewise, inwards
	Address    string  `json:"address"`     // CIDR, "" without one
	MTU        int     `json:"mtu"`
	Takeover   bool    `json:"takeover"`
	ProxyARP   bool    `json:"proxy_arp"`   // routed: the uplink's LAN finds the guests by the host's MAC
	NATAddress string  `json:"nat_address"` // what guests of a nat network have outside, "" while there is none
	Ports      int     `json:"ports"`
	FDBEntries int     `json:"fdb_entries"`
	FDBLimit   int     `json:"fdb_limit"`
	AgeingS    float64 `json:"ageing_s"`
	Source     string  `json:"source"`            // "config" or "runtime": who made it
	DHCP       DHCP    `json:"dhcp"`              // {} without a server
	DNS        DNS     `json:"dns"`               // likewise
	Problem    string  `json:"problem,omitempty"` // why it does not do all that it is to
}

// NetworkSpec is the body of POST /v1/networks; with PATCH, only the fields
// that are present change.
type NetworkSpec struct {
	Name       string         `json:"network"`
	Mode       string         `json:"mode,omitempty"`
	Uplink     string         `json:"uplink,omitempty"`
	UplinkVLAN *int           `json:"uplink_vlan,omitempty"` // 0: none
	Takeover   *bool          `json:"takeover,omitempty"`
	VLAN       *vlan.Set      `json:"vlan,omitempty"`    // the uplink's; "": the default
	Address    *string        `json:"address,omitempty"` // CIDR
	MTU        *int           `json:"mtu,omitempty"`
	Ageing     *Duration      `json:"ageing,omitempty"`
	FDBLimit   *int           `json:"fdb_limit,omitempty"`
	ProxyARP   *bool          `json:"proxy_arp,omitempty"`
	NATAddress *string        `json:"nat_address,omitempty"` // "": the uplink's
	RateUp     *shaping.Limit `json:"rate_up,omitempty"`     // "" or "none": no limit
	RateDown   *shaping.Limit `json:"rate_down,omitempty"`   // likewise
	DHCP       *DHCPSpec      `json:"dhcp,omitempty"`
	DNS        *DNSSpec       `json:"dns,omitempty"`
}

// FDBEntry is one row of GET /v1/fdb?network=N&port=P.
type FDBEntry struct {
	Network string    `json:"network"`
	VLAN    int       `json:"vlan"`
	MAC     frame.MAC `json:"mac"`
	Port    string    `json:"port"`
	AgeS    int64     `json:"age_s"` // seconds since last seen; 0 for static and local
	Kind    string    `json:"kind"`  // dynamic, static or local
}

// FDBSpec names one entry: the body of POST /v1/fdb (MAC, Port, VLAN) and of
// DELETE /v1/fdb (MAC, Network, VLAN). VLAN 0 means 1.
type FDBSpec struct {
	MAC     frame.MAC `json:"mac"`
	Port    string    `json:"port,omitempty"`
	Network string    `json:"network,omitempty"`
	VLAN    int       `json:"vlan,omitempty"`
}

// Flushed answers POST /v1/fdb/flush?network=N&port=P.
type Flushed struct {
	Entries int `json:"entries"`
}

// Stats answers GET /v1/stats?port=P&port=Q.
type Stats struct {
	Ports    []PortStats    `json:"ports"`
	Networks []NetworkStats `json:"networks"`
}

// PortStats are one port's counters since it was attached; port and network
// together say which one's, as in Port. A GSO super-frame counts as the frames
// the wire would carry; bytes are wire bytes without FCS.
// RxPackets = Forwarded + Flooded + Consumed + RxDropped.
type PortStats struct {
	Port      string            `json:"port"`
	Network   string            `json:"network"`
	RxPackets uint64            `json:"rx_packets"`
	RxBytes   uint64            `json:"rx_bytes"`
	TxPackets uint64            `json:"tx_packets"`
	TxBytes   uint64            `json:"tx_bytes"`
	RxDropped uint64            `json:"rx_dropped"`
	TxDropped uint64            `json:"tx_dropped"`
	Forwarded uint64            `json:"forwarded"` // of rx: sent on to one port
	Flooded   uint64            `json:"flooded"`   // of rx: sent on to every other port
	Consumed  uint64            `json:"consumed"`  // of rx: for the host, which has it from its NIC
	Drops     map[string]uint64 `json:"drops"`     // reason → frames, both directions, zeros left out

	// DeviceDropped is what the interface itself dropped of what it was to send, as
	// a tap does whose guest does not read: tx_packets has it, unless the sender was
	// told at once, which is tx_full. A super-frame counts as one.
	DeviceDropped uint64 `json:"device_dropped,omitempty"`
}

// NetworkStats are one network's gauges and counters.
type NetworkStats struct {
	Network    string `json:"network"`
	FDBEntries int    `json:"fdb_entries"`
	FDBLimit   int    `json:"fdb_limit"`
	Flooded    uint64 `json:"flooded"`
}

// Reloaded answers POST /v1/reload: what the difference came to, one line per
// object, as in "network lab: added".
type Reloaded struct {
	Changes []string `json:"changes"`
}

// ConfigText answers GET /v1/config: the configuration in force, as TOML.
type ConfigText struct {
	File string `json:"file"`
	TOML string `json:"toml"`
}

// Duration is a time.Duration that travels as a Go duration string ("300s").
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("duration %q: want a number and a unit, as in 300s", b)
	}
	*d = Duration(v)
	return nil
}

// Switch is what the server serves: the daemon implements it. Every method may
// be called from several goroutines. Lists come in the order in which they are
// shown. In a Set, what the switch can't change on a live object (a port's
// network, a network's mode) is refused unless it stays what it is. Errors that
// are *Error keep their code; any other error is CodeInternal.
type Switch interface {
	Status() Status
	Networks() []Network
	AddNetwork(NetworkSpec) (Network, error)
	SetNetwork(NetworkSpec) (Network, error)
	DelNetwork(name string) error
	Ports() []Port
	AddPort(PortSpec) (Port, error)
	SetPort(PortSpec) (Port, error)
	DelPort(name string) error
	Hotplug(HotplugSpec) (Port, error)            // again with the same: no change
	Unplug(HotplugRef) error                      // also what is not there, or no longer
	FDB(network, port string) ([]FDBEntry, error) // "" means every
	AddFDB(FDBSpec) error
	DelFDB(FDBSpec) error
	FlushFDB(network, port string) (Flushed, error)
	Stats(ports []string) (Stats, error)        // none means every
	VLANs(network string) ([]VLAN, error)       // "" means every
	Forwards(network string) ([]Forward, error) // "" means every
	AddForward(ForwardSpec) error
	DelForward(ForwardSpec) error
	Sessions(network string) ([]Session, error) // "" means every
	FlushNAT(network string) (Flushed, error)   // likewise
	Leases(network string) ([]Lease, error)     // likewise
	DelLease(LeaseSpec) error
	DNSNames(network string) ([]DNSName, error) // "" means every
	QueryDNS(DNSQuery) (DNSAnswer, error)
	Config() ConfigText
	Reload() (Reloaded, error)
}
