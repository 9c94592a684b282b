package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How long a Client waits for an answer. A change may wait for the kernel.
const (
	readTimeout   = 10 * time.Second
	changeTimeout = 60 * time.Second
)

// Client calls a daemon over its socket. Its methods mirror Switch and may be
// called from several goroutines.
//
// Every failure is an *Error: what the daemon said, CodeNoDaemon where none
// answers, CodeDenied where the socket refuses the user. A context that ends
// is itself.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient makes a client of the daemon at socket. It connects when it is
// first used.
func NewClient(socket string) *Client {
	var d net.Dialer
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", socket)
		},
		DisableCompression: true,
	}}}
}

// Close closes the connections that lie idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status is what the daemon says of itself.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status", nil)
}

// Networks lists the networks.
func (c *Client) Networks(ctx context.Context) ([]Network, error) {
	return get[[]Network](ctx, c, "/v1/networks", nil)
}

// Network is one network.
func (c *Client) Network(ctx context.Context, name string) (Network, error) {
	return get[Network](ctx, c, "/v1/networks/"+segment(name), nil)
}

// AddNetwork makes a network.
func (c *Client) AddNetwork(ctx context.Context, s NetworkSpec) (Network, error) {
	return send[Network](ctx, c, http.MethodPost, "/v1/networks", s)
}

// SetNetwork changes what s says of the network of its name.
func (c *Client) SetNetwork(ctx context.Context, s NetworkSpec) (Network, error) {
	return send[Network](ctx, c, http.MethodPatch, "/v1/networks/"+segment(s.Name), s)
}

// DelNetwork deletes a network.
func (c *Client) DelNetwork(ctx context.Context, name string) error {
	_, err := send[none](ctx, c, http.MethodDelete, "/v1/networks/"+segment(name), nil)
	return err
}

// Ports lists the ports.
func (c *Client) Ports(ctx context.Context) ([]Port, error) {
	return get[[]Port](ctx, c, "/v1/ports", nil)
}

// Port is one port; of a NIC that several networks share, the first of them.
func (c *Client) Port(ctx context.Context, name string) (Port, error) {
	return get[Port](ctx, c, "/v1/ports/"+segment(name), nil)
}

// AddPort makes an interface a port.
func (c *Client) AddPort(ctx context.Context, s PortSpec) (Port, error) {
	return send[Port](ctx, c, http.MethodPost, "/v1/ports", s)
}

// SetPort changes what s says of the port of its name.
func (c *Client) SetPort(ctx context.Context, s PortSpec) (Port, error) {
	return send[Port](ctx, c, http.MethodPatch, "/v1/ports/"+segment(s.Name), s)
}

// DelPort detaches a port.
func (c *Client) DelPort(ctx context.Context, name string) error {
	_, err := send[none](ctx, c, http.MethodDelete, "/v1/ports/"+segment(name), nil)
	return err
}

// Hotplug makes an interface of a Xen domain's NIC a port.
func (c *Client) Hotplug(ctx context.Context, s HotplugSpec) (Port, error) {
	return send[Port](ctx, c, http.MethodPost, "/v1/hotplug", s)
}

// Unplug detaches such an interface, if it is attached.
func (c *Client) Unplug(ctx context.Context, r HotplugRef) error {
	_, err := send[none](ctx, c, http.MethodDelete, "/v1/hotplug", r)
	return err
}

// FDB lists the entries of a network, of a port, of both; "" means every.
func (c *Client) FDB(ctx context.Context, network, port string) ([]FDBEntry, error) {
	return get[[]FDBEntry](ctx, c, "/v1/fdb", only(network, port))
}

// AddFDB makes a static entry.
func (c *Client) AddFDB(ctx context.Context, s FDBSpec) error {
	_, err := send[none](ctx, c, http.MethodPost, "/v1/fdb", s)
	return err
}

// DelFDB deletes an entry.
func (c *Client) DelFDB(ctx context.Context, s FDBSpec) error {
	_, err := send[none](ctx, c, http.MethodDelete, "/v1/fdb", s)
	return err
}

// FlushFDB deletes the dynamic entries of a network, of a port; "" means every.
func (c *Client) FlushFDB(ctx context.Context, network, port string) (Flushed, error) {
	path := "/v1/fdb/flush"
	if q := only(network, port).Encode(); q != "" {
		path += "?" + q
	}
	return send[Flushed](ctx, c, http.MethodPost, path, nil)
}

// Stats reads the counters of ports, or of all where none is named.
func (c *Client) Stats(ctx context.Context, ports []string) (Stats, error) {
	return get[Stats](ctx, c, "/v1/stats", url.Values{"port": ports})
}

// VLANs lists who carries which VLAN in a network, or in all where it is "".
func (c *Client) VLANs(ctx context.Context, network string) ([]VLAN, error) {
	return get[[]VLAN](ctx, c, "/v1/vlans", only(network, ""))
}

// Leases lists the DHCP leases of a network, or of all where it is "".
func (c *Client) Leases(ctx context.Context, network string) ([]Lease, error) {
	return get[[]Lease](ctx, c, "/v1/leases", only(network, ""))
}

// DelLease ends a lease.
func (c *Client) DelLease(ctx context.Context, s LeaseSpec) error {
	_, err := send[none](ctx, c, http.MethodDelete, "/v1/leases", s)
	return err
}

// DNSNames lists the names that a network's DNS server knows by itself, or those
// of all where the network is "".
func (c *Client) DNSNames(ctx context.Context, network string) ([]DNSName, error) {
	return get[[]DNSName](ctx, c, "/v1/dns", only(network, ""))
}

// QueryDNS asks a network's DNS server.
func (c *Client) QueryDNS(ctx context.Context, s DNSQuery) (DNSAnswer, error) {
	q := only(s.Network, "")
	q.Set("name", s.Name)
	if s.Type != "" {
		q.Set("type", s.Type)
	}
	return get[DNSAnswer](ctx, c, "/v1/dns/query", q)
}

// Forwards lists the port forwards of a network, or of all where it is "".
func (c *Client) Forwards(ctx context.Context, network string) ([]Forward, error) {
	return get[[]Forward](ctx, c, "/v1/forwards", only(network, ""))
}

// AddForward makes a port forward.
func (c *Client) AddForward(ctx context.Context, s ForwardSpec) error {
	_, err := send[none](ctx, c, http.MethodPost, "/v1/forwards", s)
	return err
}

// DelForward removes a port forward.
func (c *Client) DelForward(ctx context.Context, s ForwardSpec) error {
	_, err := send[none](ctx, c, http.MethodDelete, "/v1/forwards", s)
	return err
}

// Sessions lists the NAT sessions of a network, or of all where it is "".
func (c *Client) Sessions(ctx context.Context, network string) ([]Session, error) {
	return get[[]Session](ctx, c, "/v1/nat", only(network, ""))
}

// FlushNAT ends the NAT sessions of a network, or of all where it is "".
func (c *Client) FlushNAT(ctx context.Context, network string) (Flushed, error) {
	path := "/v1/nat/flush"
	if q := only(network, "").Encode(); q != "" {
		path += "?" + q
	}
	return send[Flushed](ctx, c, http.MethodPost, path, nil)
}

// Config is the configuration in force.
func (c *Client) Config(ctx context.Context) (ConfigText, error) {
	return get[ConfigText](ctx, c, "/v1/config", nil)
}

// Reload makes the daemon read its configuration again.
func (c *Client) Reload(ctx context.Context) (Reloaded, error) {
	return send[Reloaded](ctx, c, http.MethodPost, "/v1/reload", nil)
}

// none is the answer of a call that has none.
type none struct{}

// segment is name as one segment of a path. A segment of dots would be a step
// in it, unless escaped.
func segment(name string) string {
	if name == "." || name == ".." {
		return strings.ReplaceAll(name, ".", "%2E")
	}
	return url.PathEscape(name)
}

func only(network, port string) url.Values {
	q := url.Values{}
	if network != "" {
		q.Set("network", network)
	}
	if port != "" {
		q.Set("port", port)
	}
	return q
}

func get[T any](ctx context.Context, c *Client, path string, q url.Values) (T, error) {
	if e := q.Encode(); e != "" {
		path += "?" + e
	}
	return do[T](ctx, c, http.MethodGet, path, nil, readTimeout)
}

func send[T any](ctx context.Context, c *Client, method, path string, spec any) (T, error) {
	var body []byte
	if spec != nil {
		var err error
		if body, err = json.Marshal(spec); err != nil {
			var zero T
			return zero, Errorf(CodeInternal, "encode request: %v", err)
		}
	}
	return do[T](ctx, c, method, path, body, changeTimeout)
}

// do makes one call. The host in its URL says nothing to anybody, but
// HTTP/1.1 wants one.
func do[T any](ctx context.Context, c *Client, method, path string, body []byte, timeout time.Duration) (T, error) {
	var v T
	timed, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(timed, method, "http://gxswitch"+path, bytes.NewReader(body))
	if err != nil {
		return v, Errorf(CodeInternal, "%v", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err == nil {
		defer resp.Body.Close()
		body, err = io.ReadAll(resp.Body)
	}
	switch {
	case ctx.Err() != nil:
		return v, ctx.Err()
	case timed.Err() != nil:
		return v, Errorf(CodeNoDaemon, "the daemon on %s did not answer within %s", c.socket, timeout)
	case err != nil:
		return v, c.dialError(err)
	case resp.StatusCode >= 300:
		return v, c.answerError(resp, body)
	case resp.StatusCode == http.StatusNoContent:
		return v, nil
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, c.notGxswitch(err.Error())
	}
	return v, nil
}

// answerError is the Error that the daemon sent.
func (c *Client) answerError(resp *http.Response, body []byte) error {
	var answer struct {
		Error *Error `json:"error"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Error == nil || answer.Error.Message == "" {
		return c.notGxswitch(resp.Status)
	}
	return answer.Error
}

func (c *Client) notGxswitch(what string) error {
	return Errorf(CodeInternal, "%s does not answer as gxswitch does: %s", c.socket, what).
		WithHint("does --socket name the socket of a gxswitch daemon of this version?")
}

// dialError says why no answer came.
func (c *Client) dialError(err error) error {
	switch {
	case len(c.socket) > maxSocketPath:
		return Errorf(CodeUsage, "socket path %s is longer than %d bytes", c.socket, maxSocketPath)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return Errorf(CodeDenied, "permission denied to use %s", c.socket).WithHint("%s", howToGetIn(groupOf(c.socket)))
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOTDIR):
		return Errorf(CodeNoDaemon, "no daemon answers on %s", c.socket).
			WithHint("start one with gxswitch daemon or systemctl start gxswitch")
	default:
		return Errorf(CodeNoDaemon, "the daemon on %s broke off: %v", c.socket, bare(err)).
			WithHint("its log says whether it stopped")
	}
}

// bare is err without the method and address that net/http puts before it.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// groupOf names the group of the file at path; "" where there is none besides
// root, or nobody may look.
func groupOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Gid == 0 || info.Mode().Perm()&0o020 == 0 {
		return ""
	}
	gid := strconv.FormatUint(uint64(st.Gid), 10)
	if g, err := user.LookupGroupId(gid); err == nil {
		return g.Name
	}
	return gid
}
