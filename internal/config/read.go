package config

import (
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// reader makes one Config of one or several documents and collects what is
// wrong with them.
type reader struct {
	cfg  Config
	errs Errors

	networks []*node             // the table of cfg.Networks[i]
	ports    []*node             // the table of cfg.Ports[i]
	set      map[string]Position // where the keys of [daemon] and [defaults.port] stand
}

func newReader(file string) *reader {
	r := &reader{cfg: Default(), set: map[string]Position{}}
	r.cfg.File = file
	return r
}

// report gives a problem its place.
func (r *reader) report(pos Position, key string, e *Error) {
	e.Pos, e.Key = pos, key
	r.errs = append(r.errs, e)
}

// document reads the top level of one file.
func (r *reader) document(root *node) {
	for _, name := range root.order {
		n := root.table[name]
		switch name {
		case "daemon":
			if r.isTable(n, name, "[daemon]") {
				r.once(n, name)
				readKeys(r, name, n, daemonKeys(), &r.cfg.Daemon)
			}
		case "defaults":
			if r.isTable(n, name, "[defaults.port]") {
				r.defaults(n)
			}
		case "network":
			if r.isTable(n, name, "[network.NAME]") {
				for _, network := range n.order {
					r.network(network, n.table[network])
				}
			}
		case "port":
			r.portList(n)
		default:
			r.report(n.pos, keyPath(name), unknown(name, []string{"daemon", "defaults", "network", "port"}, nil))
		}
	}
}

// isTable complains where a table was to stand.
func (r *reader) isTable(n *node, path, want string) bool {
	if n.kind == unstable.Table {
		return true
	}
	r.report(n.pos, path, problem("want a table %s, not %s", want, describe(n)))
	return false
}

// once complains about the keys that a file before has set. A table that there
// is once may be spread over the files, a key may not.
func (r *reader) once(n *node, path string) {
	for _, k := range n.order {
		full := sub(path, k)
		if first, ok := r.set[full]; ok && first.File != n.table[k].pos.File {
			r.report(n.table[k].pos, full, problem("the key is set already%s", first.in()))
			continue
		}
		r.set[full] = n.table[k].pos
	}
}

func (r *reader) defaults(n *node) {
	for _, name := range n.order {
		c := n.table[name]
		if name != "port" {
			r.report(c.pos, keyPath("defaults", name), unknown(name, []string{"port"}, nil))
			continue
		}
		if r.isTable(c, "defaults.port", "[defaults.port]") {
			r.once(c, "defaults.port")
			readKeys(r, "defaults.port", c, portDefaultKeys(), &r.cfg.PortDefaults)
		}
	}
}

// network reads one [network.NAME], which no file before may have had.
func (r *reader) network(name string, n *node) {
	path := keyPath("network", name)
	if n.kind != unstable.Table {
		e := problem("want a table [%s], not %s", path, describe(n))
		if findKey(networkKeys(), name) {
			e = e.hint("the key stands under a network's name, as in [network.xenbr0]")
		}
		r.report(n.pos, path, e)
		return
	}
	for _, o := range r.cfg.Networks {
		if o.Name == name {
			r.report(n.pos, path, problem("there is a network of that name already%s", o.Pos.in()))
			return
		}
	}
	if e := validNetwork(name); e != nil {
		r.report(n.pos, path, e)
	}
	network := NewNetwork(name, "")
	network.Pos = n.pos
	readKeys(r, path, n, networkKeys(), &network)
	r.cfg.Networks = append(r.cfg.Networks, network)
	r.networks = append(r.networks, n)
}

// portList reads the [[port]] tables of a file.
func (r *reader) portList(n *node) {
	if n.kind != unstable.Array {
		r.report(n.pos, "port", problem("want tables [[port]], not %s", describe(n)).hint("[[port]], in two brackets, begins an entry"))
		return
	}
	for _, c := range n.list {
		if !r.isTable(c, "port", "[[port]]") {
			continue
		}
		port := Port{Pos: c.pos}
		if name := c.table["name"]; name != nil && name.kind == unstable.String {
			port.Name = name.text // right or wrong, messages say it
		}
		readKeys(r, port.path(), c, portKeys(), &port)
		r.cfg.Ports = append(r.cfg.Ports, port)
		r.ports = append(r.ports, c)
	}
}

// readKeys fills t from a table of the document, and reports what is wrong there.
func readKeys[T any](r *reader, path string, n *node, keys []key[T], t *T) {
	errs, bad := readTable(n, keys, t)
	for _, e := range append(errs, checkTable(keys, t, bad)...) {
		// TOML takes [network.web.lan] for a table lan of the network web.
		if len(e.steps) == 1 && strings.HasPrefix(path, "network.") && !findKey(keys, e.steps[0]) && n.table[e.steps[0]].kind == unstable.Table {
			e = e.hint("a name with a dot needs quotes, as in [network.\"web.lan\"]")
		}
		r.report(n.follow(e.steps), dotted(path, e.Key), e)
	}
}

// readTable fills t from a table. The problems say where below it they are; bad
// are the keys whose values could not be read.
func readTable[T any](n *node, keys []key[T], t *T) (errs Errors, bad map[string]bool) {
	bad = map[string]bool{}
	var all, now []string
	for _, k := range keys {
		all = append(all, k.name)
		if !k.later {
			now = append(now, k.name)
		}
		v := n.table[k.name]
		if v == nil {
			continue
		}
		for _, e := range k.read(t, v) {
			errs = append(errs, e.below(k.name, keyPath(k.name)))
			bad[k.name] = true
		}
	}
	for _, name := range n.order {
		if !findKey(keys, name) {
			errs = append(errs, unknown(name, all, now).below(name, keyPath(name)))
		}
	}
	return errs, bad
}

// checkTable holds t to what must hold of its keys, but for those that are bad or
// ask for one that is.
func checkTable[T any](keys []key[T], t *T, bad map[string]bool) (errs Errors) {
	for _, k := range keys {
		if bad[k.name] || k.asks != "" && bad[k.asks] {
			continue
		}
		for _, e := range k.check(t) {
			errs = append(errs, e.below(k.name, keyPath(k.name)))
		}
	}
	return errs
}

func findKey[T any](keys []key[T], name string) bool {
	for _, k := range keys {
		if k.name == name {
			return true
		}
	}
	return false
}

// unknown is about a key that no table of its kind has. The hint names the
// nearest of all, else those that this version has.
func unknown(name string, all, now []string) *Error {
	e := problem("unknown key")
	if c := suggest(name, all); c != "" {
		return e.hint("did you mean %s?", c)
	}
	if len(now) == 0 {
		now = all
	}
	return e.hint("one of %s", strings.Join(now, ", "))
}

// inherit gives the ports what they leave to [defaults.port], which may stand in
// a later file.
func (r *reader) inherit() {
	for i := range r.cfg.Ports {
		for _, k := range portDefaultKeys() {
			if r.ports[i].table[k.name] == nil {
				k.inherit(&r.cfg.Ports[i], &r.cfg.PortDefaults)
			}
		}
	}
}

// cross checks the objects of all files with each other.
func (r *reader) cross() {
	crossNetworks(r.cfg.Networks, func(i int, key string, e *Error) {
		r.report(r.networks[i].at(key), sub(r.cfg.Networks[i].path(), key), e)
	})
	crossPorts(r.cfg.Ports, r.cfg.PortDefaults, r.cfg.Networks, func(i int, key string, e *Error) {
		r.report(r.ports[i].at(key), sub(r.cfg.Ports[i].path(), key), e)
	})
}
