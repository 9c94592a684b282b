package fastpath

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// inherited are the flows that a predecessor left, TCP's first, by end; of ages the
// seconds beyond the few that a test may take.
func (l *flowLab) inherited() (all []Inherited) {
	l.t.Helper()
	err := l.e.Inherit(func(f *Inherited) {
		f.AgeSeconds = max(f.AgeSeconds-20, 0)
		all = append(all, *f)
	})
	if err != nil {
		l.t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b Inherited) int { return int(a.Proto)*2 + a.End - int(b.Proto)*2 - b.End })
	return all
}

// The next process finds the flows of sessions that live, as they were put, with
// the interfaces that they pass; none of one that has ended, and nothing that can't
// be.
func TestFlowsAreInherited(t *testing.T) {
	l := newFlowLab(t)
	var put []Inherited
	for _, proto := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		l.establish(proto, func(f *Flow) {
			in, out := l.guest.ifindex, l.router.ifindex
			if f.End == 1 {
				in, out = out, in
			}
			put = append(put, Inherited{Flow: *f, Network: "lab", InLink: in, OutLink: out})
		})
	}
	var k objectFlowKey
	var v objectFlow
	if !l.e.obj.GxFlows.Iterate().Next(&k, &v) {
		t.Fatal("no flow is there")
	}
	for i, change := range []func(*objectFlowKey, *objectFlow){
		func(_ *objectFlowKey, v *objectFlow) { v.Session = maxSessions },
		func(_ *objectFlowKey, v *objectFlow) { v.Session = 0 },
		func(_ *objectFlowKey, v *objectFlow) { v.Life += 100 },
		func(_ *objectFlowKey, v *objectFlow) { v.In = maxPorts },
		func(_ *objectFlowKey, v *objectFlow) { v.Out = 77 },
		func(_ *objectFlowKey, v *objectFlow) { v.End = 2 },
		func(_ *objectFlowKey, v *objectFlow) { v.Network = 99 },
		func(k *objectFlowKey, _ *objectFlow) { k.Proto = unix.IPPROTO_ICMP },
		func(k *objectFlowKey, _ *objectFlow) { k.Scope = 99 },
	} {
		k, v := k, v
		k.Sport = uint16(i)
		change(&k, &v)
		if err := l.e.obj.GxFlows.Put(&k, &v); err != nil {
			t.Fatal(err)
		}
	}
	l.crash()
	l.open(Options{})
	if got := l.inherited(); !slices.Equal(got, put) {
		t.Errorf("\n got %+v\nwant %+v", got, put)
	}
	l.e.flows.all[put[0].Session.ID].stamp -= 100
	if got := l.inherited(); len(got) != 4 || got[0].AgeSeconds < 80 || got[0].AgeSeconds > 110 || got[2].AgeSeconds != 0 {
		t.Errorf("ages: %+v", got)
	}
	l.e.EndSession(put[0].Session.ID)
	if got := l.inherited(); !slices.Equal(got, put[2:]) {
		t.Errorf("TCP's session has ended:\n got %+v\nwant %+v", got, put[2:])
	}
	if err := l.e.ClearFlows(); err != nil {
		t.Fatal(err)
	}
	if got := l.inherited(); got != nil {
		t.Errorf("cleared: %+v", got)
	}
}
