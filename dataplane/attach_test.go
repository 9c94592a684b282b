package dataplane

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"gxswitch/internal/frame"
)

// Both workers flood to a port all the time: when Detach returns, it is over.
func TestDetachWaitsForFramesUnderWay(t *testing.T) {
	l := newLab(t)
	attach := func(w *witness) {
		t.Helper()
		if err := l.sw.Attach(PortConfig{Name: w.name, Network: "n", MTU: 1500, Up: true}, w); err != nil {
			t.Fatal(err)
		}
	}
	talkers := []*witness{newWitness(t, "a"), newWitness(t, "b")} // one a worker
	for _, w := range talkers {
		w.Discard()
		attach(w)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i, w := range talkers {
		wg.Go(func() {
			data := unhex(t, all+[]string{stA, stB}[i]+payload)
			for {
				select {
				case <-stop:
					return
				default:
				}
				for range 100 {
					w.Inject(nil, data)
				}
				time.Sleep(50 * time.Microsecond) // the workers need the processor too
			}
		})
	}
	written := 0
	for round := range 100 {
		w := newWitness(t, fmt.Sprintf("c%d", round))
		attach(w)
		if round%2 == 0 {
			for end := time.Now().Add(time.Second); written == 0 && time.Now().Before(end); {
				written += len(w.Sent())
			}
		}
		if err := l.sw.Detach(w.name); err != nil {
			t.Fatal(err)
		}
		w.Sent()
		w.Inject(nil, unhex(t, all+stC+payload)) // nobody may see it
	}
	close(stop)
	wg.Wait()
	if written == 0 {
		t.Error("nothing was ever flooded to the port: the test tests nothing")
	}
}

func TestDetachForgetsStations(t *testing.T) {
	l := newLab(t, "a", "b", "c")
	l.send("b", all+stB+payload)
	l.expect("", all+stB+payload, "a", "c")
	if err := l.sw.AddFDB("b", 10, mac(t, stB)); err != nil {
		t.Fatal(err)
	}
	if err := l.sw.Detach("b"); err != nil {
		t.Fatal(err)
	}
	delete(l.ports, "b")
	delete(l.sent, "b")
	l.attach(PortConfig{Name: "new", Network: "n", MTU: 1500, Up: true}) // takes the number over
	for _, tag := range []string{"", vlan10} {
		l.send("a", stB+stA+tag+payload)
		l.expect("nobody knows where it is", stB+stA+tag+payload, "c", "new")
	}
}

func TestCloseFreesDescriptors(t *testing.T) {
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	use := func(t *testing.T) {
		l := newLab(t, "a", "b")
		l.send("a", all+stA+payload)
		l.expect("", all+stA+payload, "b")
	}
	t.Run("first", use)
	before := count()
	for range 3 {
		t.Run("again", use)
	}
	if n := count(); n > before {
		t.Errorf("%d descriptors became %d", before, n)
	}
}

func TestMistakes(t *testing.T) {
	l := newLab(t, "a")
	attach := func(cfg PortConfig) (*witness, error) {
		w := newWitness(t, cfg.Name)
		return w, l.sw.Attach(cfg, w)
	}
	for _, c := range []struct {
		name string
		cfg  PortConfig
		want error
	}{
		{"same name", PortConfig{Name: "a", Network: "n"}, ErrExists},
		{"no such network", PortConfig{Name: "b", Network: "m"}, ErrNoNetwork},
		{"the host's address is a group", PortConfig{Name: "b", Network: "n", Local: frame.Broadcast}, errNotUnicast},
	} {
		w, err := attach(c.cfg)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.cfg.Name) {
			t.Errorf("%s: %v, want %v and the name", c.name, err, c.want)
		}
		if !w.closed.Load() {
			t.Errorf("%s: the port was not closed", c.name)
		}
	}
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"AddNetwork", l.sw.AddNetwork(NetworkConfig{Name: "n"}), ErrExists},
		{"SetNetwork", l.sw.SetNetwork(NetworkConfig{Name: "m"}), ErrNoNetwork},
		{"DelNetwork", l.sw.DelNetwork("m"), ErrNoNetwork},
		{"DelNetwork with ports", l.sw.DelNetwork("n"), ErrHasPorts},
		{"Detach", l.sw.Detach("b"), ErrNoPort},
		{"Update", l.sw.Update("b", func(*PortConfig) {}), ErrNoPort},
		{"AddFDB", l.sw.AddFDB("b", 1, mac(t, stA)), ErrNoPort},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.err, c.want)
		}
	}
	if err := l.sw.Update("a", func(c *PortConfig) { c.Name, c.Network, c.Role = "z", "z", Host }); err != nil || l.stats("a").Network != "n" {
		t.Errorf("Update changed what stays: %v", err)
	}
	if err := l.sw.Close(); err != nil {
		t.Error(err)
	}
	if w, err := attach(PortConfig{Name: "b", Network: "n"}); !errors.Is(err, ErrClosed) || !w.closed.Load() {
		t.Errorf("Attach to a stopped switch: %v", err)
	}
	if err := l.sw.Detach("a"); !errors.Is(err, ErrClosed) {
		t.Errorf("Detach from a stopped switch: %v", err)
	}
}
