package daemon

import (
	"log/slog"
	"testing"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
	"gxswitch/internal/frame"
	"gxswitch/internal/host"
)

// managerOf is a manager with the networks of a configuration and a switch. Nothing
// of the host is looked at: legs, links and ports are what a test says.
func managerOf(t *testing.T, toml string) *manager {
	t.Helper()
	cfg, err := config.Parse("test.toml", []byte(toml))
	if err != nil {
		t.Fatal(err)
	}
	sw, err := dataplane.New(dataplane.Options{Workers: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sw.Close(); err != nil {
			t.Error(err)
		}
	})
	m := newManager(sw, slog.New(slog.DiscardHandler), t.TempDir())
	m.cfg, m.xen = cfg, config.XenOff
	for i, spec := range cfg.Networks {
		n := &network{spec: spec}
		if spec.HasHostLeg() {
			n.leg.Host = host.Link{Name: spec.Name, Index: 100 + 2*i, MAC: frame.MAC{2, 0, 0, 0, 1, byte(i)}}
			n.leg.Inner = host.Link{Name: "leg-" + spec.Name, Index: 101 + 2*i}
		}
		m.networks[spec.Name] = n
	}
	return m
}

// guest notes a guest's port that works, as if it were attached.
func (m *manager) guest(index int, spec config.Port) *port {
	p := &port{link: host.Link{Name: spec.Name, Index: index, Running: true, MTU: 1500}, role: dataplane.Guest,
		want: wantGuest(spec, "config"), members: []string{spec.Network}}
	m.ports[index] = p
	return p
}
