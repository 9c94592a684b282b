package control

import (
	"fmt"
	"net/netip"

	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
	"gxswitch/shaping"
)

// HotplugRef is one interface of a Xen domain's virtual NIC: the body of DELETE
// /v1/hotplug.
type HotplugRef struct {
	DomID int  `json:"domid"`
	DevID int  `json:"devid"`         // which of the domain's NICs
	Tap   bool `json:"tap,omitempty"` // that of the emulated NIC, not the vif
}

// HotplugSpec is the body of POST /v1/hotplug: an interface of a domain's NIC
// and what the domain's configuration says of it. What is left out it does not
// say, and is for the [[port]] entry of the NIC to say.
type HotplugSpec struct {
	HotplugRef

	Domain   string `json:"domain"` // its name
	UUID     string `json:"uuid"`   // its, in lower case
	Emulated bool   `json:"emulated,omitempty"`
	VifName  string `json:"vifname,omitempty"` // what the vif is to be called; the tap is this and -emu

	Network  string        `json:"network,omitempty"`
	MAC      frame.MAC     `json:"mac"`
	IP       []netip.Addr  `json:"ip,omitempty"`
	VLAN     vlan.Set      `json:"vlan,omitzero"`
	RateFrom shaping.Limit `json:"rate_from,omitzero"`
	MTU      int           `json:"mtu,omitempty"`
}

// XenNIC is the virtual NIC that a port is of.
type XenNIC struct {
	HotplugRef
	Domain string `json:"domain"`
	UUID   string `json:"uuid"`
}

// maxDomID is the last number that a domain can have (DOMID_FIRST_RESERVED,
// xen/include/public/xen.h); that of a NIC has 16 bits.
const (
	maxDomID = 0x7ff0 - 1
	maxDevID = 1<<16 - 1
)

// decodeHotplug reads an interface's numbers, and what is told of it.
func decodeHotplug[T any](q *request, ref func(*T) *HotplugRef) (T, error) {
	spec, err := decode[T](q.body)
	if err != nil {
		return spec, err
	}
	r := ref(&spec)
	q.object = r.String()
	switch {
	case r.DomID < 1 || r.DomID > maxDomID:
		return spec, Errorf(CodeUsage, "domid: want 1 to %d, got %d", maxDomID, r.DomID)
	case r.DevID < 0 || r.DevID > maxDevID:
		return spec, Errorf(CodeUsage, "devid: want 0 to %d, got %d", maxDevID, r.DevID)
	}
	return spec, nil
}

// String is the interface's name as xl gives it, vif3.0 or vif3.0-emu.
func (r HotplugRef) String() string {
	name := fmt.Sprintf("vif%d.%d", r.DomID, r.DevID)
	if r.Tap {
		name += emulated
	}
	return name
}

// emulated is behind a vif's name in that of its tap.
const emulated = "-emu"

// Vif is what the vif is called once it is plugged.
func (s HotplugSpec) Vif() string {
	if s.VifName != "" {
		return s.VifName
	}
	return HotplugRef{DomID: s.DomID, DevID: s.DevID}.String()
}

// EmulatedTap is what the tap of the emulated NIC is called then.
func (s HotplugSpec) EmulatedTap() string { return s.Vif() + emulated }

// Port is what the interface is called then.
func (s HotplugSpec) Port() string {
	if s.Tap {
		return s.EmulatedTap()
	}
	return s.Vif()
}
