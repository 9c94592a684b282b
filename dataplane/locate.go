package dataplane

import (
	"gxswitch/fdb"
	"gxswitch/internal/frame"
)

// Locate says behind which port of the network the station is that a frame came
// from which the host's leg let out untagged; false if nobody knows. It takes no
// lock.
func (s *Switch) Locate(network string, mac frame.MAC) (port string, role Role, ok bool) {
	v := s.view.Load()
	leg := v.legs[network]
	if leg == nil {
		return "", 0, false
	}
	if port, role, ok = v.locate(leg.net, leg.pvid, mac); ok {
		return port, role, true
	}
	for vid := range leg.vlans.All() { // a leg that joins VLANs
		if vid != leg.pvid && leg.vlans.Untagged(vid) {
			if port, role, ok = v.locate(leg.net, vid, mac); ok {
				return port, role, true
			}
		}
	}
	return "", 0, false
}

func (v *view) locate(net *network, vid uint16, mac frame.MAC) (string, Role, bool) {
	id, ok := net.table.Lookup(fdb.MakeKey(vid, mac))
	if !ok || int(id) >= len(v.ports) || v.ports[id] == nil {
		return "", 0, false
	}
	return v.ports[id].cfg.Name, v.ports[id].cfg.Role, true
}
