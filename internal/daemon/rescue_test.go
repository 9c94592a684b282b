package daemon

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"gxswitch/internal/control"
	"gxswitch/internal/host"
)

// A daemon that can't start gives back what a dead one took over, and leaves alone
// what belongs to one that is alive.
func TestRescueLeavesTheLivingAlone(t *testing.T) {
	const network = "rescuetest" // no interface is called that: nothing is touched
	try := func(alive func(opt Options)) (kept bool, said string) {
		var log bytes.Buffer
		opt := Options{StateDir: t.TempDir(), RunDir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))}
		st := state{BootID: host.BootID(), NetNS: host.NetNS(), Takeovers: map[string]*host.Takeover{network: {Network: network, NIC: host.Link{Name: "nic0"}}}}
		if err := st.save(opt.StateDir); err != nil {
			t.Fatal(err)
		}
		alive(opt)
		rescue(opt)
		after, err := loadState(opt.StateDir)
		if err != nil {
			t.Fatal(err)
		}
		return after.Takeovers[network] != nil, log.String()
	}
	if kept, said := try(func(Options) {}); kept || !strings.Contains(said, "the uplink that was taken over is given back") {
		t.Errorf("nobody is alive: it is kept: %t, %s", kept, said)
	}
	if kept, said := try(func(Options) {
		mine, err := claim("network " + network)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { mine.Close() })
	}); !kept || said != "" {
		t.Errorf("another daemon has the network: it is kept: %t, %s", kept, said)
	}
	if kept, said := try(func(opt Options) {
		server, err := control.Listen(control.ServerOptions{Socket: opt.socket(), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
	}); !kept || said != "" {
		t.Errorf("another daemon has the socket: it is kept: %t, %s", kept, said)
	}
}
