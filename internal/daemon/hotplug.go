package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/frame"
	"gxswitch/internal/host"
	"gxswitch/internal/xen"
)

// A port that Xen's hotplug script attaches is one of the runtime ports, with
// what the script said of it beside (runtimePort.xen). It is known by the
// domain's number, that of its NIC, and the interface's index: a domain that
// comes with an old name, or the old number, has another index.
//
//	hotplug.go         calls of the script
//	hotplug_policy.go  what becomes of an interface, and when it waits
//	hotplug_adopt.go   after a restart

// backendMAC is the address of every vif in dom0 (xenvif_alloc,
// drivers/net/xen-netback/interface.c), and is given to taps by Xen's own scripts.
func backendMAC() frame.MAC { return frame.MAC{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff} }

// plugging is a call on its way.
type plugging struct {
	spec    control.HotplugSpec
	opening *opening
	undo    func()
	row     control.Port
	err     error
}

// pluggings are the calls that nobody works at yet. A domain's NICs come side by
// side, and a port takes the kernel longer to open than to change: who gets the
// manager's lock takes all that wait, and opens their sockets together.
type pluggings struct {
	mu  sync.Mutex // guards all
	all []*plugging
}

func (p *pluggings) add(c *plugging) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, c)
}

func (p *pluggings) take() []*plugging {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.all
	p.all = nil
	return all
}

// Hotplug implements control.Switch. When the lock is ours, somebody has worked
// at the call already, or it still waits.
func (m *manager) Hotplug(s control.HotplugSpec) (control.Port, error) {
	c := &plugging{spec: s}
	m.calls.add(c)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.plugAll(m.calls.take())
	return c.row, c.err
}

// plugAll works at calls of which each is about another interface, and then at
// the rest.
func (m *manager) plugAll(calls []*plugging) {
	for len(calls) > 0 {
		var now, later []*plugging
		seen := map[control.HotplugRef]bool{}
		for _, c := range calls {
			if seen[c.spec.HotplugRef] {
				later = append(later, c)
				continue
			}
			seen[c.spec.HotplugRef] = true
			now = append(now, c)
		}
		m.plugTogether(now)
		calls = later
	}
}

func (m *manager) plugTogether(calls []*plugging) {
	var joining []*opening
	for _, c := range calls {
		if c.err = m.plug(c); c.err == nil && c.opening != nil {
			joining = append(joining, c.opening)
		}
	}
	m.openAll(joining)
	for _, c := range calls {
		if c.err == nil && c.opening != nil {
			c.err = m.join(c.opening)
		}
		if c.err != nil {
			if c.undo != nil {
				c.undo()
			}
			c.err = refused(fmt.Errorf("%s: %w", c.spec.HotplugRef, c.err), control.CodeRefused)
		}
	}
	m.refresh()
	err := m.journal()
	for _, c := range calls {
		if c.err == nil {
			c.row, c.err = m.rowOf(c.spec.Port()), err
		}
	}
}

// plug does all but opening a new port, which it leaves in c.opening, and says
// in c.undo how to go back from there.
func (m *manager) plug(c *plugging) error {
	s := c.spec
	if r := m.plugged(s.HotplugRef); r != nil && reflect.DeepEqual(*r.xen, s) && m.attached(r) {
		return nil
	}
	spec, err := m.vifSpec(m.cfg, s)
	if err != nil {
		return err
	}
	l, err := m.vifLink(s)
	if err != nil {
		return err
	}
	old := *cmp.Or(m.runtime[l.Name], &runtimePort{})
	if w, _ := m.membership(l); w.role != dataplane.Guest {
		return fmt.Errorf("it is the %s of network %s", roleText(w.role), w.spec.Network)
	}
	if err := attachable(l); err != nil {
		return err
	}
	was := l.Name
	if l, err = m.dress(l, spec.Name); err != nil {
		return err
	}
	delete(m.runtime, was)
	m.runtime[l.Name] = &runtimePort{ifindex: l.Index, spec: spec, base: spec, xen: &s}
	c.undo = func() {
		delete(m.runtime, spec.Name)
		if old.ifindex != 0 {
			m.runtime[was] = &old
		}
		m.undress(l, was)
	}
	w, _ := m.wanted(l)
	p := m.ports[l.Index]
	if p != nil && !p.stays(w) {
		m.detach(p, true)
		p = nil
	}
	if p != nil {
		m.update(p, l, w)
		if l.AdminUp {
			return nil
		}
		return host.SetUp(l.Index, true)
	}
	c.opening, err = m.prepare(l, w)
	return err
}

// plugged is the port of a NIC's interface, nil if no call was about it.
func (m *manager) plugged(ref control.HotplugRef) *runtimePort {
	for _, r := range m.runtime {
		if r.xen != nil && r.xen.HotplugRef == ref {
			return r
		}
	}
	return nil
}

// attached reports whether the port is in the switch and its interface still
// there, under its name, and up.
func (m *manager) attached(r *runtimePort) bool {
	if m.ports[r.ifindex] == nil {
		return false
	}
	l, err := host.LinkByIndex(r.ifindex)
	return err == nil && l.Name == r.spec.Name && l.AdminUp
}

// vifLink finds the interface: under the name that xl gave it, or, at a second
// call, whatever it is called by now.
func (m *manager) vifLink(s control.HotplugSpec) (host.Link, error) {
	if r := m.plugged(s.HotplugRef); r != nil {
		l, err := host.LinkByIndex(r.ifindex)
		if err == nil {
			m.links[l.Index] = l
			return l, nil
		}
		if !errors.Is(err, host.ErrNoLink) {
			return host.Link{}, err
		}
		m.gone(m.links[r.ifindex])
		m.forget(r.ifindex)
	}
	name := s.HotplugRef.String()
	l, err := host.LinkByName(name)
	if err == nil && l.Name != name {
		err = fmt.Errorf("link %s: %w", name, host.ErrNoLink)
	}
	if err != nil {
		return host.Link{}, err
	}
	m.links[l.Index] = l
	m.freeName(name, l.Index)
	return l, nil
}

// forget drops what a call said of an interface that is gone.
func (m *manager) forget(ifindex int) {
	for name, r := range m.runtime {
		if r.xen != nil && r.ifindex == ifindex {
			delete(m.runtime, name)
		}
	}
}

// freeName sees to an interface that had the name, and of which the kernel's word
// that it went, or is called otherwise, still waits to be read.
func (m *manager) freeName(name string, but int) {
	for index, old := range m.links {
		if old.Name != name || index == but {
			continue
		}
		if now, err := host.LinkByIndex(index); err == nil {
			m.handle([]host.Event{{Link: now}})
		} else if errors.Is(err, host.ErrNoLink) {
			m.gone(old)
		}
	}
}

// dress gives the interface the name and address that it is to have.
func (m *manager) dress(l host.Link, name string) (host.Link, error) {
	if l.Name != name {
		if err := m.mayBear(name); err != nil {
			return l, err
		}
		m.freeName(name, l.Index)
		if p := m.ports[l.Index]; p != nil {
			m.detach(p, true)
		}
		if err := host.Rename(l.Index, name); err != nil {
			return l, err
		}
		m.log.Info("interface renamed", "from", l.Name, "to", name)
	}
	if m.ports[l.Index] == nil {
		if err := host.SetMAC(l, backendMAC()); err != nil {
			m.log.Warn("leave the interface its own address", "err", err)
		}
	}
	now, err := host.LinkByIndex(l.Index)
	if err != nil {
		return l, err
	}
	m.links[l.Index] = now
	return now, nil
}

// undress gives an interface its old name back, if it is still there.
func (m *manager) undress(l host.Link, name string) {
	if l.Name == name {
		return
	}
	if err := host.Rename(l.Index, name); err != nil {
		if !errors.Is(err, host.ErrNoLink) {
			m.log.Warn("give the interface its name back", "err", err)
		}
		return
	}
	l.Name = name
	m.links[l.Index] = l
}

// mayBear refuses a name that another interface has, or is to have.
func (m *manager) mayBear(name string) error {
	const hint = "give the domain's NIC another vifname=, or none"
	for _, n := range m.networks {
		if name == n.spec.Name {
			return &hinted{fmt.Errorf("it can't be renamed to %s, which is the name of a network", name), hint}
		}
		if name == n.spec.Uplink {
			return &hinted{fmt.Errorf("it can't be renamed to %s, which is the uplink of network %s", name, n.spec.Name), hint}
		}
	}
	l, err := host.LinkByName(name)
	switch {
	case err == nil && l.Name == name:
		return &hinted{fmt.Errorf("it can't be renamed to %s: there is such an interface", name), hint}
	case err != nil && !errors.Is(err, host.ErrNoLink):
		return err
	}
	return nil
}

// Unplug implements control.Switch. The interface is gone already, as a rule.
func (m *manager) Unplug(ref control.HotplugRef) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.plugged(ref)
	if r == nil {
		return nil
	}
	delete(m.runtime, r.spec.Name)
	if p := m.ports[r.ifindex]; p != nil {
		m.detach(p, true)
	}
	if l, err := host.LinkByIndex(r.ifindex); err == nil {
		m.undress(l, ref.String())
	}
	m.refresh()
	return m.journal()
}

// current is the truth about an interface of which the kernel tells late that it
// has the name it had before a call renamed it.
func (m *manager) current(l host.Link) host.Link {
	known := m.links[l.Index].Name
	if r := m.runtime[known]; known != l.Name && r != nil && r.xen != nil && r.ifindex == l.Index {
		if now, err := host.LinkByIndex(l.Index); err == nil && now.Name == known {
			return now
		}
	}
	return l
}

// xenNIC is the NIC that the port is of, nil for a port of another kind.
func (m *manager) xenNIC(p *port) *control.XenNIC {
	r := m.runtime[p.link.Name]
	if r == nil || r.xen == nil || r.ifindex != p.link.Index {
		return nil
	}
	return &control.XenNIC{HotplugRef: r.xen.HotplugRef, Domain: r.xen.Domain, UUID: r.xen.UUID}
}

// noNetworkFor is the error of a NIC that is to go where there is nothing. xl
// shows it to whoever started the domain.
func (m *manager) noNetworkFor(s control.HotplugSpec, name string) error {
	const most = 20
	var all []string
	for _, n := range m.specs() {
		all = append(all, n.Name)
	}
	slices.Sort(all)
	there := "there are none"
	if len(all) > 0 {
		there = "there are: " + strings.Join(all[:min(len(all), most)], ", ")
	}
	if len(all) > most {
		there += fmt.Sprintf(" and %d more", len(all)-most)
	}
	e := control.Errorf(control.CodeNotFound, "%s: no such network: %s; %s", s.HotplugRef, name, there)
	if name != xen.DefaultBridge && name != "" {
		return e.WithHint("write bridge= with one of them in the vif line of domain %s", s.Domain)
	}
	if name == "" {
		e.Message = fmt.Sprintf("%s: nobody says which network it is to join; %s", s.HotplugRef, there)
	}
	return e.WithHint("xl takes %s where nobody names a network: write bridge=NETWORK in the vif line of domain %s, "+
		`vif.default.bridge="NETWORK" in xl.conf, or a [[port]] with network and match`, xen.DefaultBridge, s.Domain)
}

// checkVif refuses what can't be a NIC's settings, whoever sent them.
func checkVif(s control.HotplugSpec, spec config.Port) error {
	if strings.ContainsAny(s.VifName, `*?[\%`) {
		return control.Errorf(control.CodeUsage, "%s: vifname %q is no name of an interface", s.HotplugRef, s.VifName)
	}
	if id, tap, ok := xen.ParseInterface(s.VifName); ok && (tap || id != xen.ID{DomID: s.DomID, DevID: s.DevID}) {
		return control.Errorf(control.CodeUsage, "%s: vifname %s is the name of another NIC's interface", s.HotplugRef, s.VifName)
	}
	if err := spec.Validate(); err != nil {
		return refused(fmt.Errorf("%s: %w", s.HotplugRef, err), control.CodeUsage)
	}
	return nil
}
