package config

// Validate holds the network to the rules that concern it alone. The error is
// Errors, without positions.
func (n Network) Validate() error {
	var es Errors
	if e := validNetwork(n.Name); e != nil {
		e.Key = n.path()
		es = append(es, e)
	}
	return append(es, checkKeys(networkKeys(), &n, n.path())...).err()
}

// Validate holds the port to the rules that concern it alone. The error is
// Errors, without positions.
func (p Port) Validate() error { return checkKeys(portKeys(), &p, p.path()).err() }

func checkKeys[T any](keys []key[T], t *T, path string) Errors {
	es := checkTable(keys, t, nil)
	for _, e := range es {
		e.Key = dotted(path, e.Key)
	}
	return es
}

// path is how a message names the network.
func (n Network) path() string { return keyPath("network", n.Name) }

// path is how a message names the port. [[port]] tables have no key of their
// own.
func (p Port) path() string {
	switch {
	case !p.Match.IsZero() && p.Match.VIF >= 0:
		return keyPath("port", p.Match.String())
	case p.Name == "":
		return "port"
	}
	return keyPath("port", p.Name)
}

// ValidateNetworks holds networks to the rules between them. It does not repeat
// Validate. The error is Errors, without positions.
func ValidateNetworks(networks []Network) error {
	var es Errors
	crossNetworks(networks, func(i int, key string, e *Error) {
		e.Key = sub(networks[i].path(), key)
		es = append(es, e)
	})
	return es.err()
}

// ValidatePorts holds ports to the rules between them, and between them and the
// networks. It does not repeat Validate. The error is Errors, without positions.
func ValidatePorts(ports []Port, defaults Port, networks []Network) error {
	var es Errors
	crossPorts(ports, defaults, networks, func(i int, key string, e *Error) {
		e.Key = sub(ports[i].path(), key)
		es = append(es, e)
	})
	return es.err()
}

// minMTUv6 is the least MTU that IPv6 takes (RFC 8200, section 5).
const minMTUv6 = 1280

// crossNetworks reports what is wrong with the i-th network's key, "" for its
// name. Of two networks in each other's way the later is to blame.
func crossNetworks(networks []Network, report func(i int, key string, e *Error)) {
	named := map[string]Network{}
	for i, n := range networks {
		if first, ok := named[n.Name]; ok {
			report(i, "", problem("there is a network of that name already%s", first.Pos.in()))
			continue
		}
		named[n.Name] = n
	}
	for i, n := range networks {
		if n.Address.Addr().Is6() && n.MTU != 0 && n.MTU < minMTUv6 {
			report(i, "mtu", problem("%d is too small for the IPv6 address %s", n.MTU, n.Address).hint("IPv6 needs %d or more", minMTUv6))
		}
	}
	crossUplinks(networks, named, report)
	crossTakeovers(networks, report)
	crossForwards(networks, report)
	var addressed []Network
	for i, n := range networks {
		if !n.Address.IsValid() || !n.HasHostLeg() {
			continue
		}
		for _, o := range addressed {
			// A link-local prefix means another subnet on every link (RFC 4291, 2.5.6).
			scoped := n.Address.Addr().Is6() && n.Address.Addr().IsLinkLocalUnicast()
			if o.Name != n.Name && o.Address.Overlaps(n.Address) && !scoped {
				report(i, "address", problem("%s overlaps %s of network %s%s", n.Address, o.Address, word(o.Name), o.Pos.in()))
				break
			}
		}
		addressed = append(addressed, n)
	}
}

// crossUplinks lets networks share an uplink, if each has a part of its own.
func crossUplinks(networks []Network, named map[string]Network, report func(i int, key string, e *Error)) {
	type part struct {
		uplink string
		vlan   uint16 // 0: what no other network takes
	}
	taken := map[part]Network{}
	for i, n := range networks {
		if n.Uplink == "" || !n.Mode.NeedsUplink() {
			continue
		}
		if other, ok := named[n.Uplink]; ok && other.Name != n.Name {
			report(i, "uplink", problem("%s is a network%s, and an uplink is a NIC", word(n.Uplink), other.Pos.in()))
		}
		if n.Mode != Bridged {
			continue
		}
		mine := part{n.Uplink, n.UplinkVLAN}
		first, ok := taken[mine]
		switch {
		case !ok:
			taken[mine] = n
		case first.Name == n.Name:
		case n.UplinkVLAN == 0:
			report(i, "uplink", problem("%s is the uplink of network %s already%s", word(n.Uplink), word(first.Name), first.Pos.in()).
				hint("they can share it if one of them has uplink_vlan, the VLAN that is its own there"))
		default:
			report(i, "uplink_vlan", problem("VLAN %d of %s is network %s already%s", n.UplinkVLAN, word(n.Uplink), word(first.Name), first.Pos.in()).
				hint("networks that share an uplink have different VLANs there"))
		}
	}
}

// crossForwards gives each port of an address that networks share to one of them.
func crossForwards(networks []Network, report func(i int, key string, e *Error)) {
	for i, n := range networks {
		for _, o := range networks[:i] {
			if n.Mode != NAT || o.Mode != NAT || o.Name == n.Name || o.Uplink != n.Uplink || o.NATAddress != n.NATAddress {
				continue
			}
			if mine, theirs, ok := overlap(n.Forwards, o.Forwards); ok {
				report(i, "forward", problem("%s of %s is forwarded by network %s already%s: %s to %s",
					mine.Listen, word(n.Uplink), word(o.Name), o.Pos.in(), theirs.Listen, theirs.To).
					hint("one port leads to one guest; a nat_address gives the network ports of its own"))
				break
			}
		}
	}
}

// overlap finds two forwards that share a port.
func overlap(a, b []Forward) (x, y Forward, ok bool) {
	for _, x := range a {
		for _, y := range b {
			if x.Listen.Overlaps(y.Listen) {
				return x, y, true
			}
		}
	}
	return x, y, false
}

// crossTakeovers lets a NIC be taken over once.
func crossTakeovers(networks []Network, report func(i int, key string, e *Error)) {
	taken := map[string]Network{}
	for i, n := range networks {
		if !n.Takeover || n.Mode != Bridged || n.Uplink == "" {
			continue
		}
		if first, ok := taken[n.Uplink]; ok && first.Name != n.Name {
			report(i, "takeover", problem("network %s takes over %s already%s", word(first.Name), word(n.Uplink), first.Pos.in()).
				hint("leave it out in one of the two"))
			continue
		}
		taken[n.Uplink] = n
	}
}

// legAlone reports whether the entry says nothing that a host interface can't
// have. What it has from [defaults.port] is for guests.
func (p Port) legAlone(defaults Port) bool {
	defaults.Name, defaults.Network, defaults.VLAN = p.Name, p.Network, p.VLAN
	return p.Equal(defaults)
}

// crossPorts reports what is wrong with the i-th port's key.
func crossPorts(ports []Port, defaults Port, networks []Network, report func(i int, key string, e *Error)) {
	uplinks, legs, known := map[string]Network{}, map[string]Network{}, map[string]bool{}
	for _, n := range networks {
		known[n.Name] = true
		if _, shared := uplinks[n.Uplink]; n.Uplink != "" && n.Mode.NeedsUplink() && !shared {
			uplinks[n.Uplink] = n
		}
		if n.HasHostLeg() {
			legs[n.Name] = n
		}
	}
	named, matched := map[string]Port{}, map[Match]Port{}
	for i, p := range ports {
		if first, ok := matched[p.Match]; ok && !p.Match.IsZero() {
			report(i, "match", problem("there is a port with that match already%s", first.Pos.in()))
		}
		matched[p.Match] = p
		if p.Name != "" {
			if first, ok := named[p.Name]; ok {
				report(i, "name", problem("there is a port of that name already%s", first.Pos.in()).
					hint("two patterns may overlap, and the first one wins, but they may not be the same"))
			} else {
				named[p.Name] = p
			}
		}
		if name, ok := literal(p.Name); ok {
			if n, ok := uplinks[name]; ok {
				report(i, "name", problem("%s is the uplink of network %s%s and cannot be a guest's port", word(name), word(n.Name), n.Pos.in()))
			}
			if n, ok := legs[name]; ok && p.Network == name {
				if !p.legAlone(defaults) {
					report(i, "name", problem("%s is the host interface of network %s%s, which takes a vlan alone", word(name), word(n.Name), n.Pos.in()).
						hint("leave out what is not name, network or vlan"))
				}
			} else if ok {
				report(i, "name", problem("%s is the host interface of network %s%s and cannot be a guest's port", word(name), word(n.Name), n.Pos.in()))
			}
		}
		if p.Network != "" && !known[p.Network] {
			e := problem("there is no network %s", word(p.Network))
			if all := names(networks, func(n Network) string { return n.Name }); len(all) > 0 {
				e = e.hint("%s", didYouMean(p.Network, all))
			} else {
				e = e.hint("add a table [%s]", keyPath("network", p.Network))
			}
			report(i, "network", e)
		}
	}
}
