package dataplane

import (
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"gxswitch/fdb"
	"gxswitch/internal/fastpath"
	"gxswitch/internal/frame"
	"gxswitch/internal/gateway"
	"gxswitch/nat"
	"gxswitch/ports"
	"gxswitch/shaping"
)

// pretended is a Kernel that decides nothing, and remembers what it was told of
// flows and stations.
type pretended struct {
	punt *pretendedPunt
	heir bool // of a predecessor

	mu      sync.Mutex
	era     uint32
	room    int
	silent  int64
	next    uint32
	put     []fastpath.Flow
	deleted []fastpath.FlowKey
	ended   []uint32
	freed   []uint32

	stations map[fdb.Key]uint16 // numbers of ports
	crowded  bool               // there is no room for another
}

func (*pretended) Network(string) (uint32, error)                  { return 7, nil }
func (*pretended) DropNetwork(string) error                        { return nil }
func (*pretended) SetHostAddresses([]netip.Addr) error             { return nil }
func (*pretended) VLANCounters(uint32, uint16) (p, b uint64)       { return 0, 0 }
func (*pretended) Settle()                                         {}
func (k *pretended) Adopted() bool                                 { return k.heir }
func (*pretended) WatchSniffers() error                            { return nil }
func (*pretended) ClearFlows() error                               { return nil }
func (k *pretended) SessionAge(uint32) int64                       { return k.silent }
func (*pretended) Acknowledged(uint32, int) (uint32, uint16, bool) { return 0, 0, false }
func (*pretended) Passage(uint32) fastpath.Counters                { return fastpath.Counters{} }

func (k *pretended) NextEra() uint32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.era++
	return k.era
}

func (k *pretended) PutFlow(f *fastpath.Flow) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.put = append(k.put, *f)
	return nil
}

func (k *pretended) DeleteFlow(f *fastpath.FlowKey) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.deleted = append(k.deleted, *f)
	return nil
}

func (k *pretended) OpenSession() (fastpath.Session, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.room == 0 {
		return fastpath.Session{}, false
	}
	k.room--
	k.next++
	return fastpath.Session{ID: k.next, Life: 100}, true
}

func (k *pretended) EndSession(id uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = append(k.ended, id)
}

func (k *pretended) FreeSession(id uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.freed = append(k.freed, id)
}

// taken is what was put since the last call, in the order of directions.
func (k *pretended) taken() []fastpath.Flow {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := k.put
	k.put = nil
	slices.SortFunc(all, func(a, b fastpath.Flow) int { return a.End - b.End })
	return all
}

// pretendedPunt brings frames of several ports.
type pretendedPunt struct {
	*ports.Memory
	mu      sync.Mutex
	sources []uint16
}

func (p *pretendedPunt) inject(of uint16, data []byte) {
	p.mu.Lock()
	p.sources = append(p.sources, of)
	p.mu.Unlock()
	p.Inject(nil, data)
}

func (p *pretendedPunt) Read(batch []frame.Frame, buf *ports.Buffers) int {
	n := p.Memory.Read(batch, buf)
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range n {
		batch[i].Source = p.sources[i]
	}
	p.sources = p.sources[n:]
	return n
}

// pretendedPort is one of the Kernel's.
type pretendedPort struct {
	*ports.Memory
	number uint16
	mu     sync.Mutex
	rules  fastpath.Rules
}

func (p *pretendedPort) Number() uint16                  { return p.number }
func (p *pretendedPort) Punt() int                       { return 0 }
func (p *pretendedPort) SetAddresses([]netip.Addr) error { return nil }
func (p *pretendedPort) Counters() fastpath.Counters     { return fastpath.Counters{} }
func (p *pretendedPort) Disable() error                  { return nil }

func (p *pretendedPort) SetRules(r fastpath.Rules) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = r
	return nil
}

// flowLab is a NAT network whose ports are the Kernel's: web1 is 1, web2 2, the leg
// 3 and the NIC 4.
type flowLab struct {
	*gatewayLab
	kernel *pretended
	fast   map[string]*pretendedPort
}

func newFlowLab(t *testing.T) *flowLab {
	t.Helper()
	return newFlowLabOf(t, false)
}

// newFlowLabOf is one whose Kernel may go on with what a predecessor decided.
func newFlowLabOf(t *testing.T, heir bool) *flowLab {
	t.Helper()
	memory := func() *ports.Memory {
		m, err := ports.NewMemory()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	k := &pretended{punt: &pretendedPunt{Memory: memory()}, heir: heir, room: 10, stations: map[fdb.Key]uint16{}}
	l := &flowLab{kernel: k, fast: map[string]*pretendedPort{},
		gatewayLab: &gatewayLab{lab: &lab{t: t, ports: map[string]*ports.Memory{}, sent: map[string]uint64{}, of: map[string]string{}}}}
	var err error
	if l.sw, err = New(Options{Workers: 1, Log: slog.New(slog.DiscardHandler), Kernel: k, Punts: []ports.Port{k.punt}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.sw.Close(); err != nil {
			t.Error(err)
		}
		k.punt.Close()
	})
	l.network(NetworkConfig{Name: "gw", HostOnly: true, Gateway: true})
	for i, cfg := range []PortConfig{
		{Name: "web1"}, {Name: "web2"}, {Name: "leg", Role: Host, Local: mac(t, legMAC)}, {Name: "nic", Role: Uplink, Local: mac(t, nicMAC)},
	} {
		cfg.Network, cfg.MTU, cfg.Up = "gw", 1500, true
		p := &pretendedPort{Memory: memory(), number: uint16(i + 1)}
		l.fast[cfg.Name], l.ports[cfg.Name] = p, p.Memory
		if err := l.sw.Attach(cfg, p); err != nil {
			t.Fatal(err)
		}
	}
	l.table = l.nat("10.20.0.1/24")
	l.config = gateway.Config{
		Hosts: map[netip.Addr]struct{}{netip.MustParseAddr(hostIP): {}, netip.MustParseAddr(gatewayIP): {}}, NAT: l.table, Errors: gateway.NewErrorLimit(),
		Routes: gateway.NewRoutes([]gateway.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr(routerIP)}}),
	}
	l.config.Link[gateway.Inside] = gateway.Link{MAC: mac(t, legMAC), MTU: 1400, Addr: netip.MustParseAddr(gatewayIP)}
	l.config.Link[gateway.Outside] = gateway.Link{MAC: mac(t, nicMAC), MTU: 1500, Addr: netip.MustParseAddr(hostIP)}
	l.know(map[string]string{web1IP: web1MAC}, map[string]string{routerIP: routerMAC})
	return l
}

// both lets so many packets pass in both directions of one session, or of another.
func (l *flowLab) both(port, packets int) {
	l.t.Helper()
	for range packets {
		l.kernel.punt.inject(1, udpFrame(l.t, web1MAC, legMAC, web1IP, farIP, port, 80, 64))
		l.settle()
		l.kernel.punt.inject(4, udpFrame(l.t, routerMAC, nicMAC, farIP, hostIP, 80, port, 64))
		l.settle()
	}
	l.forget()
}

// settle waits until the worker, and who tells the Kernel, have nothing to do.
func (l *flowLab) settle() {
	l.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		l.kernel.punt.mu.Lock()
		n := len(l.kernel.punt.sources)
		l.kernel.punt.mu.Unlock()
		l.sw.workers[0].call(func() {})
		if n == 0 && len(l.sw.fast.offers.made) == 0 {
			return
		}
		if time.Now().After(end) {
			l.t.Fatal("frames are left")
		}
	}
}

// flows waits for that many, and for the flow that would come after them.
func (l *flowLab) flows(want int) (all []fastpath.Flow) {
	l.t.Helper()
	for end := time.Now().Add(5 * time.Second); len(all) < want; runtime.Gosched() {
		all = append(all, l.kernel.taken()...)
		if time.Now().After(end) {
			l.t.Fatalf("%d flows, want %d: %+v", len(all), want, all)
		}
	}
	slices.SortFunc(all, func(a, b fastpath.Flow) int { return a.End - b.End })
	return all
}

// A session's directions are offered when they are under way, once, with what
// NAT and the gateway make of their packets.
func TestFlowsOfASession(t *testing.T) {
	l := newFlowLab(t)
	l.both(61001, 20)
	if got := l.kernel.taken(); len(got) != 0 {
		t.Errorf("before a predecessor's are cleared: %+v", got)
	}
	l.sw.Adopt()
	for name, want := range map[string]string{"web1": legMAC, "web2": legMAC, "leg": "000000000000", "nic": nicMAC} {
		l.fast[name].mu.Lock()
		if got := l.fast[name].rules.Gateway; got != mac(t, want) {
			t.Errorf("%s is told that the gateway is %v, want %s", name, got, want)
		}
		l.fast[name].mu.Unlock()
	}
	l.both(61002, 5)
	if got := l.kernel.taken(); len(got) != 0 {
		t.Errorf("after five packets: %+v", got)
	}
	l.both(61002, 20)
	got := l.flows(2)
	guest, far, outer := netip.MustParseAddrPort(web1IP+":61002"), netip.MustParseAddrPort(farIP+":80"), netip.MustParseAddrPort(hostIP+":61002")
	session := fastpath.Session{ID: 1, Life: 100}
	want := []fastpath.Flow{
		{FlowKey: fastpath.FlowKey{Src: guest, Dst: far, Proto: 17, Network: 7}, NewSrc: outer, NewDst: far, DstMAC: mac(t, routerMAC), SrcMAC: mac(t, nicMAC),
			In: 1, Out: 4, MaxLen: 1514, Gateway: 7, Era: got[0].Era, Session: session, End: 0},
		{FlowKey: fastpath.FlowKey{Src: far, Dst: outer, Proto: 17}, NewSrc: far, NewDst: guest, DstMAC: mac(t, web1MAC), SrcMAC: mac(t, legMAC),
			In: 4, Out: 1, MaxLen: 1414, Gateway: 7, VLAN: 1, Era: got[0].Era, Session: session, End: 1},
	}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	l.table.Flush()
	for end := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
		l.kernel.mu.Lock()
		deleted, ended, freed := l.kernel.deleted, fmt.Sprint(l.kernel.ended), fmt.Sprint(l.kernel.freed)
		l.kernel.mu.Unlock()
		if len(deleted) == 2 && ended == "[1]" && freed == "[1]" && deleted[0] == want[0].FlowKey && deleted[1] == want[1].FlowKey {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("flushed: deleted %+v, ended %s, freed %s", deleted, ended, freed)
		}
	}
}

// While ports come one by one the Kernel goes by what a predecessor has told it; then
// it is told all at once.
func TestAdoptedPortsKeepTheirRulesUntilAllAreThere(t *testing.T) {
	for _, heir := range []bool{false, true} {
		l := newFlowLabOf(t, heir)
		told := func(when string, want bool) {
			t.Helper()
			for name, p := range l.fast {
				p.mu.Lock()
				if got := p.rules != (fastpath.Rules{}); got != want {
					t.Errorf("heir %v, %s: %s was told %v", heir, when, name, got)
				}
				p.mu.Unlock()
			}
		}
		told("before", !heir)
		l.sw.Adopt()
		told("adopted", true)
	}
}

// Without NAT a flow is offered for its own sake, and forgotten when it is silent.
func TestFlowsWithoutNAT(t *testing.T) {
	l := newFlowLab(t)
	l.config.NAT, l.config.Guests = nil, []netip.Prefix{netip.MustParsePrefix("10.20.0.0/24")}
	l.know(map[string]string{web1IP: web1MAC}, map[string]string{routerIP: routerMAC})
	l.sw.Adopt()
	send := func(packets int) {
		for range packets {
			l.kernel.punt.inject(1, udpFrame(t, web1MAC, legMAC, web1IP, farIP, 5000, 80, 64))
			l.kernel.punt.inject(4, udpFrame(t, routerMAC, nicMAC, farIP, web1IP, 80, 5000, 64))
			l.settle()
		}
		l.forget()
	}
	send(routedPackets - 1)
	if got := l.kernel.taken(); len(got) != 0 {
		t.Errorf("after few packets: %+v", got)
	}
	send(20)
	got := l.flows(2)
	if got[0].Network == 0 {
		got[0], got[1] = got[1], got[0]
	}
	guest, far := netip.MustParseAddrPort(web1IP+":5000"), netip.MustParseAddrPort(farIP+":80")
	want := []fastpath.Flow{
		{FlowKey: fastpath.FlowKey{Src: guest, Dst: far, Proto: 17, Network: 7}, NewSrc: guest, NewDst: far, DstMAC: mac(t, routerMAC), SrcMAC: mac(t, nicMAC),
			In: 1, Out: 4, MaxLen: 1514, Gateway: 7, Era: got[0].Era, Session: got[0].Session},
		{FlowKey: fastpath.FlowKey{Src: far, Dst: guest, Proto: 17}, NewSrc: far, NewDst: guest, DstMAC: mac(t, web1MAC), SrcMAC: mac(t, legMAC),
			In: 4, Out: 1, MaxLen: 1414, Gateway: 7, VLAN: 1, Era: got[1].Era, Session: got[1].Session},
	}
	if !slices.Equal(got, want) || got[0].Session == got[1].Session {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	l.sw.nextEra()
	send(1)
	if again := l.flows(2); again[0].Era == got[0].Era || again[0].Session.ID > 2 || again[1].Session.ID > 2 {
		t.Errorf("in another era: %+v", again)
	}
	if err := l.sw.Close(); err != nil { // what follows is its goroutine's
		t.Fatal(err)
	}
	l.sw.ageRouted()
	if len(l.kernel.deleted) != 0 {
		t.Errorf("not silent, and deleted: %+v", l.kernel.deleted)
	}
	l.kernel.silent = routedSilent + 1
	l.sw.ageRouted()
	if len(l.kernel.deleted) != 2 || len(l.kernel.ended) != 2 || len(l.kernel.freed) != 2 || len(l.sw.fast.offers.routed) != 0 {
		t.Errorf("silent: deleted %+v, ended %v, freed %v", l.kernel.deleted, l.kernel.ended, l.kernel.freed)
	}
}

// Whatever decisions rest on begins an era, and the flows are offered anew; what
// they don't rest on does not.
func TestErasOfFlows(t *testing.T) {
	l := newFlowLab(t)
	l.sw.Adopt()
	l.both(61001, 20)
	l.flows(2)
	slow, err := shaping.ParseLimit("10Mb/s")
	if err != nil {
		t.Fatal(err)
	}
	rate := func(port string, from, to shaping.Limit) func() {
		return func() { l.update(port, func(c *PortConfig) { c.RateFrom, c.RateTo = from, to }) }
	}
	none := shaping.Limit{}
	inside := map[string]string{web1IP: web1MAC}
	outside := map[string]string{routerIP: routerMAC}
	for _, tt := range []struct {
		name   string
		change func()
		era    bool
		offers int
	}{
		{"the same picture", func() { l.know(inside, outside) }, false, 0},
		{"a neighbour that is new", func() { l.know(map[string]string{web1IP: web1MAC, web2IP: web2MAC}, outside) }, false, 0},
		{"a neighbour that is gone", func() { l.know(inside, outside) }, true, 2},
		{"another MAC of the router's", func() { l.know(inside, map[string]string{routerIP: lanMAC}) }, true, 2},
		{"other routes", func() {
			l.config.Routes = gateway.NewRoutes([]gateway.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr(routerIP)}})
			l.know(inside, outside)
		}, true, 2},
		{"a forward", func() {
			if err := l.table.AddForward(nat.Forward{Listen: nat.Listen{Protocol: nat.TCP, First: 8080, Last: 8080}, To: netip.MustParseAddrPort(web1IP + ":80")}); err != nil {
				t.Fatal(err)
			}
			l.know(inside, outside)
		}, true, 2},
		{"another host address", func() { l.sw.SetHostAddresses([]netip.Addr{netip.MustParseAddr(lanIP)}) }, true, 2},
		{"a limit from the guest", rate("web1", slow, none), true, 1},
		{"a limit to the guest", rate("web1", none, slow), true, 1},
		{"a limit of the NIC's", rate("nic", slow, slow), true, 0},
		{"a limit of both", rate("web1", slow, slow), true, 0},
		{"no limit of the NIC's", rate("nic", none, none), true, 0},
		{"no limit", rate("web1", none, none), true, 2},
		{"the guest's port is down", func() { l.update("web1", func(c *PortConfig) { c.Up = false }) }, true, 1},
		{"and up", func() { l.update("web1", func(c *PortConfig) { c.Up = true }) }, true, 2},
		{"no gateway", func() { _ = l.sw.SetGateway("gw", nil) }, true, 0},
	} {
		was := l.kernel.era
		tt.change()
		if got := l.kernel.era != was; got != tt.era {
			t.Errorf("%s: another era %v", tt.name, got)
		}
		l.both(61001, 20)
		l.flows(tt.offers)
		l.settle()
		if got := l.kernel.taken(); len(got) != 0 {
			t.Errorf("%s: more than %d flows: %+v", tt.name, tt.offers, got)
		}
	}
}

// Where the Kernel has no room a session stays here.
func TestNoRoomForFlows(t *testing.T) {
	l := newFlowLab(t)
	l.kernel.room = 1
	l.sw.Adopt()
	l.both(61001, 20)
	l.flows(2)
	l.both(61002, 20)
	if got := l.kernel.taken(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if n := l.sw.fast.offers.refused.Load(); n == 0 {
		t.Error("not counted")
	}
}
