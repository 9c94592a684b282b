package xen

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"strconv"

	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
	"gxswitch/shaping"
)

// Vif is what xl wrote about a vif and its domain. What xl did not write has
// its zero value.
type Vif struct {
	ID

	UUID   string // the domain's, in lower case; it stays through reboot, migration and rename
	Domain string // the domain's name

	MAC        frame.MAC    // the guest's
	Bridge     string       // the network's name; xl writes xenbr0 where none was given
	IPs        []netip.Addr // the guest's, each once
	VLAN       vlan.Set
	Rate       shaping.Limit // of what the guest sends; see Connected
	MTU        int           // of IP packets; 0: that of the network
	VifName    string        // what the interface is to be renamed to
	Emulated   bool          // an emulated NIC, with a tap of its own, is beside the vif
	GatewayDev string
	Script     string // the path of the hotplug script
}

// DefaultBridge is what xl writes where nobody named a bridge, in the domain's
// configuration or xl.conf (libxl__device_nic_setdefault).
const DefaultBridge = "xenbr0"

// Interface is the name of the vif's interface once it is set up.
func (v *Vif) Interface() string {
	if v.VifName != "" {
		return v.VifName
	}
	return v.ID.String()
}

// Tap is the name of the emulated NIC's tap once it is set up.
func (v *Vif) Tap() string { return v.Interface() + emulated }

// ReadVif reads what xl wrote about a vif. A value that can't be right is a
// *ValueError; so is a vif of which there is nothing.
func ReadVif(ctx context.Context, c *Client, id ID) (Vif, error) {
	return readVif(id, func(path string) (string, error) { return c.Read(ctx, path) })
}

// VIFs lists the vifs that dom0 serves, in the order of xenstore. Also those are
// among them whose domain is on its way out.
func VIFs(ctx context.Context, c *Client) ([]ID, error) {
	domains, err := below(ctx, c, backends)
	if err != nil {
		return nil, err
	}
	var all []ID
	for _, domid := range domains {
		devices, err := below(ctx, c, backends+"/"+domid)
		if err != nil {
			return nil, err
		}
		for _, devid := range devices {
			if id, ok := parseID(domid, devid); ok {
				all = append(all, id)
			}
		}
	}
	return all, nil
}

// below is Directory, and nothing where the key does not exist.
func below(ctx context.Context, c *Client, path string) ([]string, error) {
	all, err := c.Directory(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return all, err
}

// readVif reads a vif with any means to read keys.
func readVif(id ID, read func(path string) (string, error)) (Vif, error) {
	v := Vif{ID: id}
	s := source{read: read}
	backend := id.BackendPath() + "/"
	s.need(backend+"mac", parseMAC(&v.MAC))

	// Whoever wrote these meant this vif: another's frontend must not be told
	// what is for this one.
	s.take(backend+"frontend", same(id.FrontendPath()))
	s.take(backend+"frontend-id", same(strconv.Itoa(id.DomID)))
	s.take(backend+"handle", same(strconv.Itoa(id.DevID)))

	s.take(backend+"type", parseType(&v.Emulated))
	s.take(backend+"bridge", parseBridge(&v.Bridge))
	s.take(backend+"ip", parseIPs(&v.IPs))
	s.take(backend+"vlan", parseVLAN(&v.VLAN))
	s.take(backend+"rate", parseRate(&v.Rate))
	if v.Rate.IsZero() {
		s.take(backend+rateKey, parseRate(&v.Rate)) // where Connected has put it
	}
	s.take(backend+"mtu", parseMTU(&v.MTU))
	s.take(backend+"vifname", parseVifName(&v.VifName, &v))
	s.take(backend+"gatewaydev", parseGatewayDev(&v.GatewayDev))
	s.take(backend+"script", parseScript(&v.Script))

	var vm string
	s.need("/local/domain/"+strconv.Itoa(id.DomID)+"/vm", parseVM(&vm))
	s.need(vm+"/uuid", parseUUID(&v.UUID))
	s.need(vm+"/name", parseDomain(&v.Domain))
	if s.err != nil {
		return Vif{}, s.err
	}
	return v, nil
}

// source reads keys until the first mistake.
type source struct {
	read func(path string) (string, error)
	err  error
}

// parser sets something to a value, or says why it can't be right.
type parser func(value string) *ValueError

// need reads a key that xl always writes.
func (s *source) need(path string, parse parser) {
	s.get(path, parse, func() error {
		e := wrong("look with xenstore-ls whether the domain is still there", "there is no such key")
		e.Key, e.Missing = path, true
		return e
	})
}

// take reads a key that xl writes where it was given something.
func (s *source) take(path string, parse parser) {
	s.get(path, parse, func() error { return nil })
}

func (s *source) get(path string, parse parser, missing func() error) {
	if s.err != nil {
		return
	}
	value, err := s.read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.err = missing()
	case err != nil:
		s.err = err
	default:
		// A nil *ValueError in an error would not be nil.
		if e := parse(value).of(path, value); e != nil {
			s.err = e
		}
	}
}
