package control

import (
	"net/netip"
	"time"

	"gxswitch/internal/frame"
)

// DHCP is a network's DHCP server.
type DHCP struct {
	Range         string   `json:"range,omitempty"`   // "A-B", "" without one
	LeaseS        float64  `json:"lease_s,omitempty"` // seconds
	Router        string   `json:"router,omitempty"`  // that guests are told, "" for none; so are the next three
	DNS           []string `json:"dns,omitempty"`     //
	Domain        string   `json:"domain,omitempty"`  //
	Routes        []string `json:"routes,omitempty"`  // "CIDR via ADDRESS"
	PortLimit     int      `json:"port_limit,omitempty"`
	Authoritative *bool    `json:"authoritative,omitempty"`
	Leases        *int     `json:"leases,omitempty"`  // that hold
	Problem       string   `json:"problem,omitempty"` // why it does not serve
}

// DNS is a network's DNS server.
type DNS struct {
	Domain   string   `json:"domain,omitempty"`
	Upstream []string `json:"upstream,omitempty"`
	RebindOK []string `json:"rebind_ok,omitempty"`
	Problem  string   `json:"problem,omitempty"` // why it does not serve
}

// DHCPSpec changes a network's DHCP server. Without On, any field turns it on;
// what is zero gets the default.
type DHCPSpec struct {
	On            *bool         `json:"on,omitempty"`    // false: no server, and its settings are forgotten
	Range         *string       `json:"range,omitempty"` // "A-B"
	Lease         *Duration     `json:"lease,omitempty"`
	Router        *string       `json:"router,omitempty"` // an address or "none"
	DNS           *[]netip.Addr `json:"dns,omitempty"`
	Domain        *string       `json:"domain,omitempty"`
	Routes        *[]string     `json:"routes,omitempty"` // "CIDR via ADDRESS"
	PortLimit     *int          `json:"port_limit,omitempty"`
	Authoritative *bool         `json:"authoritative,omitempty"`
}

// DNSSpec changes a network's DNS server, as DHCPSpec does.
type DNSSpec struct {
	On       *bool     `json:"on,omitempty"`
	Domain   *string   `json:"domain,omitempty"`
	Upstream *[]string `json:"upstream,omitempty"` // "system", "none", or addresses
	RebindOK *[]string `json:"rebind_ok,omitempty"`
}

// Lease is one row of GET /v1/leases?network=N.
type Lease struct {
	Network  string    `json:"network"`
	MAC      frame.MAC `json:"mac"`
	IP       string    `json:"ip"`
	Hostname string    `json:"hostname"` // "" for none
	Expires  time.Time `json:"expires"`  // RFC 3339, UTC
	Port     string    `json:"port"`     // behind which the guest was when it asked; "" if not known
}

// LeaseSpec is the body of DELETE /v1/leases.
type LeaseSpec struct {
	Network string    `json:"network"`
	MAC     frame.MAC `json:"mac"`
}

// DNSName is one row of GET /v1/dns?network=N: a name that the server knows by
// itself.
type DNSName struct {
	Network string   `json:"network"`
	Name    string   `json:"name"` // with the domain
	IP      []string `json:"ip"`   // never null; empty for a host that has none yet
	Source  string   `json:"source"`
}

// What DNSName.Source says.
const (
	SourceGateway = "gateway" // the host itself
	SourceHost    = "host"    // a host of the configuration
	SourceLease   = "lease"   // a guest that asked for the name
)

// DNSQuery is the parameters of GET /v1/dns/query.
type DNSQuery struct {
	Network string // "": the only one that has a DNS server
	Name    string // or an address
	Type    string // "": A, or PTR of an address
}

// DNSAnswer answers GET /v1/dns/query. That there is no such name is CodeNotFound.
type DNSAnswer struct {
	Network string      `json:"network"`
	Name    string      `json:"name"`
	Type    string      `json:"type"`
	Code    string      `json:"code"`
	Answers []DNSRecord `json:"answers"` // never null
}

// DNSRecord is one of an answer's.
type DNSRecord struct {
	Name  string `json:"name"`
	TTLS  uint32 `json:"ttl_s"`
	Type  string `json:"type"`
	Value string `json:"value"` // as in a zone file
}
