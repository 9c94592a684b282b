package host_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"pgregory.net/rapid"

	"gxswitch/internal/host"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// view is a reader's idea of the links, which must be right after each event.
type view struct {
	t     testing.TB
	links map[int]host.Link
	gone  []string
}

func newView(t testing.TB) *view { return &view{t: t, links: make(map[int]host.Link)} }

func (v *view) take(e host.Event) {
	if e.Gone {
		if _, ok := v.links[e.Link.Index]; !ok {
			v.t.Errorf("%s is gone and was never there", e.Link.Name)
		}
		delete(v.links, e.Link.Index)
		v.gone = append(v.gone, e.Link.Name)
		return
	}
	v.links[e.Link.Index] = e.Link
}

func (v *view) byName(name string) (host.Link, bool) {
	for _, l := range v.links {
		if l.Name == name {
			return l, true
		}
	}
	return host.Link{}, false
}

// until takes events until cond holds.
func (v *view) until(events <-chan host.Event, what string, cond func() bool) {
	v.t.Helper()
	late := time.NewTimer(10 * time.Second)
	defer late.Stop()
	for !cond() {
		select {
		case e, open := <-events:
			if !open {
				v.t.Fatalf("closed before: %s", what)
			}
			v.take(e)
		case <-late.C:
			v.t.Fatalf("never told: %s; the view is %+v", what, v.links)
		}
	}
}

// has is a condition: a link of the name for which is holds.
func (v *view) has(name string, is func(host.Link) bool) func() bool {
	return func() bool {
		l, ok := v.byName(name)
		return ok && is(l)
	}
}

// watching starts a watch that ends with the test; the end is checked.
func watching[T any](t *testing.T, start func(context.Context) (<-chan T, error)) <-chan T {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	events, err := start(ctx)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		for range events { // goleak would find what goes on
		}
	})
	return events
}

// told tells a set whenever it has changed.
func told[T comparable](start func(context.Context) (*host.Set[T], error)) func(context.Context) (<-chan []T, error) {
	return func(ctx context.Context) (<-chan []T, error) {
		set, err := start(ctx)
		if err != nil {
			return nil, err
		}
		out := make(chan []T)
		go func() {
			defer close(out)
			for range set.Changed {
				out <- set.Latest()
			}
		}()
		return out, nil
	}
}

func TestWatchTellsOfEveryChange(t *testing.T) {
	t.Parallel()
	n := nettest.Test(t, "watch")
	elsewhere := nettest.Namespace(t, n, "elsewhere")
	here := nettest.Namespace(t, n, "here")
	ok(t, here.Do(func() error {
		sh(t, "ip link add name there type veth peer name peer")
		events, v := watching(t, host.Watch), newView(t)
		v.until(events, "what was there", func() bool { return len(v.links) == 3 })

		step := func(what string, cond func() bool, command string) {
			t.Helper()
			sh(t, "%s", command)
			v.until(events, what, cond)
		}
		any := func(host.Link) bool { return true }
		step("new", v.has("a", any), "ip link add name a type veth peer name b")
		step("renamed", v.has("vif1.0", any), "ip link set dev a name vif1.0")
		if _, ok := v.byName("a"); ok {
			t.Error("the old name is still there")
		}
		step("mtu", v.has("vif1.0", func(l host.Link) bool { return l.MTU == 1400 }), "ip link set vif1.0 mtu 1400")
		step("mac", v.has("vif1.0", func(l host.Link) bool { return l.MAC[5] == 9 }), "ip link set vif1.0 address 02:00:00:00:00:09")
		step("up", v.has("vif1.0", func(l host.Link) bool { return l.AdminUp && !l.Running }), "ip link set vif1.0 up")
		step("alias", v.has("vif1.0", func(l host.Link) bool { return l.Alias == "x" }), "ip link set vif1.0 alias x")
		step("carrier", v.has("vif1.0", func(l host.Link) bool { return l.Running }), "ip link set dev b up")
		step("no carrier", v.has("vif1.0", func(l host.Link) bool { return l.AdminUp && !l.Running }), "ip link set dev b down")
		step("bridge", v.has("br", any), "ip link add name br type bridge")
		step("master", v.has("vif1.0", func(l host.Link) bool { return l.Master != 0 }), "ip link set vif1.0 master br")
		// The bridge tells of this with a DELLINK of its own family.
		step("no master", v.has("vif1.0", func(l host.Link) bool { return l.Master == 0 }), "ip link set vif1.0 nomaster")
		if len(v.gone) > 0 {
			t.Errorf("told to be gone: %q", v.gone)
		}
		step("deleted", func() bool { return len(v.links) == 4 }, "ip link del vif1.0")
		slices.Sort(v.gone)
		if !slices.Equal(v.gone, []string{"b", "vif1.0"}) {
			t.Errorf("told to be gone: %q", v.gone)
		}
		// Into another namespace, which is an end here.
		step("moved away", func() bool { _, ok := v.byName("there"); return !ok }, "ip link set dev there netns "+elsewhere.Name)
		return nil
	}))
}

func addPairs(t *testing.T, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		a := netlink.NewLinkAttrs()
		a.Name = fmt.Sprintf("p%d", i)
		veth := netlink.NewVeth(a)
		veth.PeerName = fmt.Sprintf("g%d", i)
		ok(t, netlink.LinkAdd(veth))
	}
}

func delPairs(t *testing.T, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		ok(t, netlink.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: link(t, fmt.Sprintf("p%d", i)).Index}}))
	}
}

func TestWatchKeepsUpWithManyLinksAndAReaderWhoSleeps(t *testing.T) {
	t.Parallel()
	inside(t, "many", func(*testnet.NS) {
		events, v := watching(t, host.Watch), newView(t)
		addPairs(t, 0, 150)
		// Nobody has read so far.
		v.until(events, "300 links", func() bool { return len(v.links) == 301 })
		delPairs(t, 0, 150)
		v.until(events, "their end", func() bool { return len(v.links) == 1 && len(v.gone) == 300 })
	})
}

func TestWatchFindsOutAfterAnOverrunWhatItMissed(t *testing.T) {
	t.Parallel()
	inside(t, "overrun", func(*testnet.NS) {
		addPairs(t, 0, 20)
		events := watching(t, func(ctx context.Context) (<-chan host.Event, error) {
			start, err := host.WatchLater(4096)
			ok(t, err)
			// The buffer holds one or two of these.
			addPairs(t, 20, 40)
			delPairs(t, 10, 30)
			sh(t, "ip link set p0 mtu 1400")
			return start(ctx), nil
		})
		v := newView(t)
		v.until(events, "the state after it", func() bool {
			p0, _ := v.byName("p0")
			_, p10 := v.byName("p10")
			_, p39 := v.byName("p39")
			return p0.MTU == 1400 && !p10 && p39 && len(v.links) == 41
		})
		delPairs(t, 0, 10)
		v.until(events, "changes after it", func() bool { return len(v.links) == 21 })
	})
}

func TestWatchEndsWhileNobodyReads(t *testing.T) {
	t.Parallel()
	inside(t, "watchend", func(*testnet.NS) {
		addPairs(t, 0, 5)
		ctx, cancel := context.WithCancel(context.Background())
		events, err := host.Watch(ctx)
		ok(t, err)
		cancel()
		for range events {
		}
	})
}

// A kernel that makes, renames and deletes links, and a reader who is slow at
// random: he ends with the truth, and no name is ever borne twice.
func TestWhatWaitsForASlowReaderStaysTrueAndSmall(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b, kernel, reader := host.NewBacklog(), make(map[int]host.Link), make(map[int]host.Link)
		bears := func(links map[int]host.Link, name string) bool {
			for _, l := range links {
				if l.Name == name {
					return true
				}
			}
			return false
		}
		read := func() {
			e := b.Pop()
			_, known := reader[e.Link.Index]
			if e.Gone {
				if !known {
					t.Fatalf("link %d ends and was never told", e.Link.Index)
				}
				delete(reader, e.Link.Index)
				return
			}
			delete(reader, e.Link.Index)
			if bears(reader, e.Link.Name) {
				t.Fatalf("two links are called %s", e.Link.Name)
			}
			reader[e.Link.Index] = e.Link
		}
		renames := 0
		for range rapid.IntRange(0, 80).Draw(t, "steps") {
			index := rapid.IntRange(1, 4).Draw(t, "index")
			name := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "name")
			l, exists := kernel[index]
			switch rapid.IntRange(0, 3).Draw(t, "do") {
			case 0: // make or rename
				if bears(kernel, name) {
					continue
				}
				if exists {
					renames++
				}
				l.Index, l.Name = index, name
				kernel[index] = l
				b.Add(host.Event{Link: l})
			case 1: // change
				if !exists {
					continue
				}
				l.MTU++
				kernel[index] = l
				b.Add(host.Event{Link: l})
			case 2:
				if !exists {
					continue
				}
				delete(kernel, index)
				b.Add(host.Event{Link: l, Gone: true})
			case 3:
				if b.Len() > 0 {
					read()
				}
			}
			// For each link an old life's change and end, and a new life.
			if limit := 3*4 + renames; b.Len() > limit {
				t.Fatalf("%d events wait", b.Len())
			}
		}
		for b.Len() > 0 {
			read()
		}
		if len(reader) != len(kernel) {
			t.Fatalf("reader %v, kernel %v", reader, kernel)
		}
		for i, l := range kernel {
			if reader[i] != l {
				t.Fatalf("reader %v, kernel %v", reader, kernel)
			}
		}
	})
}

func TestWatchAddrsTellsTheWholeSetWhenItChanges(t *testing.T) {
	t.Parallel()
	inside(t, "addrs", func(*testnet.NS) {
		sh(t, "ip link add name a type veth peer name b")
		sh(t, "ip addr add 10.0.0.1/24 dev a")
		sets := watching(t, told(host.WatchAddrs))
		until := func(want ...string) {
			t.Helper()
			var last []netip.Addr
			late := time.NewTimer(10 * time.Second)
			defer late.Stop()
			for {
				select {
				case last = <-sets:
				case <-late.C:
					t.Fatalf("never told %v; last %v", want, last)
				}
				var got []string
				for _, a := range last {
					got = append(got, a.String())
				}
				if slices.Equal(got, want) {
					return
				}
			}
		}
		until("10.0.0.1", "127.0.0.1", "::1")
		sh(t, "ip addr add fd00::1/64 dev a nodad")
		until("10.0.0.1", "127.0.0.1", "::1", "fd00::1")
		sh(t, "ip addr add 10.0.0.1/32 dev b") // the same again
		sh(t, "ip addr del 10.0.0.1/24 dev a")
		sh(t, "ip addr add 10.0.0.2/24 dev a")
		until("10.0.0.1", "10.0.0.2", "127.0.0.1", "::1", "fd00::1")
		sh(t, "ip link del dev a")
		until("127.0.0.1", "::1")
	})
}

// Who has changed something need not wait for the kernel's word, and nobody hears of
// an older set after that.
func TestARefreshedSetHasWhatWasJustChanged(t *testing.T) {
	t.Parallel()
	inside(t, "refresh", func(*testnet.NS) {
		sh(t, "ip link add name a type veth peer name b")
		ctx, cancel := context.WithCancel(t.Context())
		set, err := host.WatchAddrs(ctx)
		ok(t, err)
		for i := range 50 {
			a := netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
			sh(t, "ip addr add %s/24 dev a", a)
			ok(t, set.Refresh())
			if !slices.Contains(set.Latest(), a) {
				t.Fatalf("%v is not in %v", a, set.Latest())
			}
			if <-set.Changed; !slices.Contains(set.Latest(), a) {
				t.Fatalf("%v is not in %v any more", a, set.Latest())
			}
		}
		cancel()
		for range set.Changed {
		}
		if err := set.Refresh(); err == nil {
			t.Error("a set that is followed no more is refreshed")
		}
	})
}
