package control

import (
	"net/http"

	"gxswitch/internal/frame"
)

// routes is the API: path → method → endpoint.
func routes(sw Switch) map[string]map[string]endpoint {
	return map[string]map[string]endpoint{
		"/v1/status": {
			http.MethodGet: read(func() any { return sw.Status() }),
		},
		"/v1/networks": {
			http.MethodGet: read(func() any { return nonNil(sw.Networks()) }),
			http.MethodPost: change("add network", func(q *request) (any, error) {
				spec, err := decode[NetworkSpec](q.body)
				if err != nil {
					return nil, err
				}
				if q.object = spec.Name; spec.Name == "" {
					return nil, missing("network")
				}
				return sw.AddNetwork(spec)
			}),
		},
		"/v1/networks/{name}": {
			http.MethodGet: {serve: func(q *request) (any, error) { return findNetwork(sw, q.PathValue("name")) }},
			http.MethodPatch: change("set network", func(q *request) (any, error) {
				spec, err := decode[NetworkSpec](q.body)
				if err != nil {
					return nil, err
				}
				if err := pathName(q, "network", &spec.Name); err != nil {
					return nil, err
				}
				return sw.SetNetwork(spec)
			}),
			http.MethodDelete: change("delete network", func(q *request) (any, error) {
				q.object = q.PathValue("name")
				return nil, first(noBody(q), func() error { return sw.DelNetwork(q.object) })
			}),
		},
		"/v1/ports": {
			http.MethodGet: read(func() any { return ports(sw) }),
			http.MethodPost: change("add port", func(q *request) (any, error) {
				spec, err := decode[PortSpec](q.body)
				if err != nil {
					return nil, err
				}
				if q.object = spec.Name; spec.Name == "" {
					return nil, missing("port")
				}
				return port(sw.AddPort(spec))
			}),
		},
		"/v1/ports/{name}": {
			http.MethodGet: {serve: func(q *request) (any, error) { return findPort(sw, q.PathValue("name")) }},
			http.MethodPatch: change("set port", func(q *request) (any, error) {
				spec, err := decode[PortSpec](q.body)
				if err != nil {
					return nil, err
				}
				if err := pathName(q, "port", &spec.Name); err != nil {
					return nil, err
				}
				return port(sw.SetPort(spec))
			}),
			http.MethodDelete: change("delete port", func(q *request) (any, error) {
				q.object = q.PathValue("name")
				return nil, first(noBody(q), func() error { return sw.DelPort(q.object) })
			}),
		},
		"/v1/hotplug": {
			http.MethodPost: change("plug", func(q *request) (any, error) {
				spec, err := decodeHotplug(q, func(s *HotplugSpec) *HotplugRef { return &s.HotplugRef })
				if err != nil {
					return nil, err
				}
				return port(sw.Hotplug(spec))
			}),
			http.MethodDelete: change("unplug", func(q *request) (any, error) {
				ref, err := decodeHotplug(q, func(r *HotplugRef) *HotplugRef { return r })
				return nil, first(err, func() error { return sw.Unplug(ref) })
			}),
		},
		"/v1/fdb": {
			http.MethodGet: {params: []string{"network", "port"}, serve: func(q *request) (any, error) {
				entries, err := sw.FDB(q.params.Get("network"), q.params.Get("port"))
				return nonNil(entries), err
			}},
			http.MethodPost: change("add fdb entry", func(q *request) (any, error) {
				spec, err := decodeFDB(q)
				if err == nil && spec.Port == "" {
					err = missing("port")
				}
				return nil, first(err, func() error { return sw.AddFDB(spec) })
			}),
			http.MethodDelete: change("delete fdb entry", func(q *request) (any, error) {
				spec, err := decodeFDB(q)
				if err == nil && spec.Network == "" {
					err = missing("network")
				}
				return nil, first(err, func() error { return sw.DelFDB(spec) })
			}),
		},
		"/v1/fdb/flush": {
			http.MethodPost: {call: "flush fdb", params: []string{"network", "port"}, serve: func(q *request) (any, error) {
				q.object = q.params.Encode()
				if err := noBody(q); err != nil {
					return nil, err
				}
				return sw.FlushFDB(q.params.Get("network"), q.params.Get("port"))
			}},
		},
		"/v1/stats": {
			http.MethodGet: {params: []string{"port"}, many: true, serve: func(q *request) (any, error) {
				return stats(sw.Stats(q.params["port"]))
			}},
		},
		"/v1/vlans": {
			http.MethodGet: {params: []string{"network"}, serve: func(q *request) (any, error) {
				return vlans(sw.VLANs(q.params.Get("network")))
			}},
		},
		"/v1/leases": {
			http.MethodGet: {params: []string{"network"}, serve: func(q *request) (any, error) {
				leases, err := sw.Leases(q.params.Get("network"))
				return nonNil(leases), err
			}},
			http.MethodDelete: change("delete lease", func(q *request) (any, error) {
				spec, err := decode[LeaseSpec](q.body)
				q.object = spec.MAC.String()
				switch {
				case err != nil:
				case spec.MAC.IsZero():
					err = missing("mac")
				case spec.Network == "":
					err = missing("network")
				}
				return nil, first(err, func() error { return sw.DelLease(spec) })
			}),
		},
		"/v1/dns": {
			http.MethodGet: {params: []string{"network"}, serve: func(q *request) (any, error) {
				return dnsNames(sw.DNSNames(q.params.Get("network")))
			}},
		},
		"/v1/dns/query": {
			http.MethodGet: {params: []string{"network", "name", "type"}, serve: func(q *request) (any, error) {
				spec := DNSQuery{Network: q.params.Get("network"), Name: q.params.Get("name"), Type: q.params.Get("type")}
				if spec.Name == "" {
					return nil, missing("name")
				}
				a, err := sw.QueryDNS(spec)
				a.Answers = nonNil(a.Answers)
				return a, err
			}},
		},
		"/v1/forwards": {
			http.MethodGet: {params: []string{"network"}, serve: func(q *request) (any, error) {
				all, err := sw.Forwards(q.params.Get("network"))
				return nonNil(all), err
			}},
			http.MethodPost: change("add forward", func(q *request) (any, error) {
				spec, err := decodeForward(q)
				if err == nil && spec.To == "" {
					err = missing("to")
				}
				return nil, first(err, func() error { return sw.AddForward(spec) })
			}),
			http.MethodDelete: change("delete forward", func(q *request) (any, error) {
				spec, err := decodeForward(q)
				return nil, first(err, func() error { return sw.DelForward(spec) })
			}),
		},
		"/v1/nat": {
			http.MethodGet: {params: []string{"network"}, serve: func(q *request) (any, error) {
				all, err := sw.Sessions(q.params.Get("network"))
				return nonNil(all), err
			}},
		},
		"/v1/nat/flush": {
			http.MethodPost: {call: "flush nat", params: []string{"network"}, serve: func(q *request) (any, error) {
				q.object = q.params.Encode()
				if err := noBody(q); err != nil {
					return nil, err
				}
				return sw.FlushNAT(q.params.Get("network"))
			}},
		},
		"/v1/config": {
			http.MethodGet: read(func() any { return sw.Config() }),
		},
		"/v1/reload": {
			http.MethodPost: change("reload", func(q *request) (any, error) {
				if err := noBody(q); err != nil {
					return nil, err
				}
				r, err := sw.Reload()
				r.Changes = nonNil(r.Changes)
				return r, err
			}),
		},
	}
}

// read is an endpoint that takes nothing and can't fail.
func read(f func() any) endpoint {
	return endpoint{serve: func(*request) (any, error) { return f(), nil }}
}

func change(call string, f func(*request) (any, error)) endpoint {
	return endpoint{call: call, serve: f}
}

// first is err or, without one, what f says.
func first(err error, f func() error) error {
	if err != nil {
		return err
	}
	return f()
}

func missing(key string) error { return Errorf(CodeUsage, "%s: missing", key) }

// pathName makes the name in the path the spec's. A body may repeat it, but
// not say another.
func pathName(q *request, key string, name *string) error {
	q.object = q.PathValue("name")
	if *name != "" && *name != q.object {
		return Errorf(CodeUsage, "%s: the body says %q, the path %q", key, *name, q.object)
	}
	*name = q.object
	return nil
}

// decodeFDB reads an entry and refuses what can't be one on any switch.
func decodeFDB(q *request) (FDBSpec, error) {
	spec, err := decode[FDBSpec](q.body)
	if err != nil {
		return spec, err
	}
	q.object = spec.MAC.String()
	switch {
	case spec.MAC == frame.MAC{}:
		return spec, missing("mac")
	case spec.MAC.IsMulticast():
		return spec, Errorf(CodeUsage, "mac: %s is a multicast address, the table holds stations", spec.MAC)
	case spec.VLAN < 0 || spec.VLAN > 4094:
		return spec, Errorf(CodeUsage, "vlan: want 1 to 4094, got %d", spec.VLAN)
	}
	return spec, nil
}

func decodeForward(q *request) (ForwardSpec, error) {
	spec, err := decode[ForwardSpec](q.body)
	if err != nil {
		return spec, err
	}
	q.object = spec.Network + " " + spec.Listen
	switch {
	case spec.Network == "":
		return spec, missing("network")
	case spec.Listen == "":
		return spec, missing("listen")
	}
	return spec, nil
}

func findNetwork(sw Switch, name string) (any, error) {
	for _, n := range sw.Networks() {
		if n.Name == name {
			return n, nil
		}
	}
	return nil, Errorf(CodeNotFound, "network %s: no such network", name).WithHint("gxswitch network list shows those there are")
}

func findPort(sw Switch, name string) (any, error) {
	for _, p := range ports(sw) {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, Errorf(CodeNotFound, "port %s: no such port", name).WithHint("gxswitch port list shows those there are")
}

// The functions below make nil lists and maps empty ones: a client that
// iterates over null stumbles.

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func port(p Port, err error) (any, error) {
	p.IP, p.LearnedIP = nonNil(p.IP), nonNil(p.LearnedIP)
	return p, err
}

func ports(sw Switch) []Port {
	all := sw.Ports()
	tidy := make([]Port, len(all))
	for i, p := range all {
		p.IP, p.LearnedIP = nonNil(p.IP), nonNil(p.LearnedIP)
		tidy[i] = p
	}
	return tidy
}

func vlans(all []VLAN, err error) (any, error) {
	tidy := make([]VLAN, len(all))
	for i, v := range all {
		v.Untagged, v.Tagged = nonNil(v.Untagged), nonNil(v.Tagged)
		tidy[i] = v
	}
	return tidy, err
}

func dnsNames(all []DNSName, err error) (any, error) {
	tidy := make([]DNSName, len(all))
	for i, n := range all {
		n.IP = nonNil(n.IP)
		tidy[i] = n
	}
	return tidy, err
}

func stats(s Stats, err error) (any, error) {
	tidy := Stats{Ports: make([]PortStats, len(s.Ports)), Networks: nonNil(s.Networks)}
	for i, p := range s.Ports {
		if p.Drops == nil {
			p.Drops = map[string]uint64{}
		}
		tidy.Ports[i] = p
	}
	return tidy, err
}
