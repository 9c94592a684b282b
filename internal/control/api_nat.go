package control

// Forward is one row of GET /v1/forwards?network=N: what comes for ports of the
// network's external address goes to a guest.
type Forward struct {
	Network string `json:"network"`
	Listen  string `json:"listen"` // as in tcp/8080 or udp/5000-5010
	To      string `json:"to"`     // address:port, of a range the first port
	Source  string `json:"source"` // "config" or "runtime": who made it
}

// ForwardSpec names one forward: the body of POST /v1/forwards, and without To of
// DELETE /v1/forwards.
type ForwardSpec struct {
	Network string `json:"network"`
	Listen  string `json:"listen"`
	To      string `json:"to,omitempty"` // address or name of a [[network.N.host]], with or without :port
}

// Session is one row of GET /v1/nat?network=N. Addresses are ip:port; of ICMP the
// port is the echo identifier.
type Session struct {
	Network  string `json:"network"`
	Proto    string `json:"proto"` // tcp, udp or icmp
	Guest    string `json:"guest"`
	External string `json:"external"` // what the remote takes for the guest
	Remote   string `json:"remote"`
	Forward  bool   `json:"forward"` // the remote opened it, by a port forward
	State    string `json:"state"`
	AgeS     int64  `json:"age_s"`     // seconds since its last packet
	InKernel bool   `json:"in_kernel"` // the eBPF engine translates its packets, but for those that may end it
}
