package daemon

import (
	"gxswitch/internal/fastpath"
	"gxswitch/nat"
)

// inherit notes which flows of gateways the kernel goes on with for a daemon that is
// no more: it may have had no time to write down their sessions.
func (m *manager) inherit() {
	if m.kernel == nil {
		return
	}
	m.inherited = map[string][]fastpath.Inherited{}
	err := m.kernel.Inherit(func(f *fastpath.Inherited) {
		m.inherited[f.Network] = append(m.inherited[f.Network], *f)
	})
	if err != nil {
		m.log.Error("sessions that the kernel has", "err", err)
	}
}

// withInherited puts the sessions of the kernel's flows before those that were
// written down: of the latter some may have ended since, and left their ports to the
// former. That one end of a connection has said its last is known to the file alone.
func (m *manager) withInherited(network string, t *nat.Table, saved []savedSession) (all []savedSession) {
	at := map[nat.Session]int{}
	for _, f := range m.inherited[network] {
		outside := f.FlowKey.Network == 0
		v, ok := t.SessionOf(nat.Flow{
			Protocol: nat.Protocol(f.Proto), Src: f.Src, Dst: f.Dst, NewSrc: f.NewSrc, NewDst: f.NewDst, Outside: outside, End: f.End,
		})
		if !ok {
			continue
		}
		s := savedSession{Session: v, guestLink: f.InLink}
		if outside || v.Gateway.IsValid() && f.End == 1 {
			s.guestLink = f.OutLink
		}
		s.IdleSeconds = f.AgeSeconds
		i, known := at[identity(v)]
		switch {
		case !known:
			at[identity(v)] = len(all)
			all = append(all, s)
		case v.Assured(): // by the answer's flow
			all[i] = s
		}
	}
	for _, s := range saved {
		i, known := at[identity(s.Session)]
		switch {
		case !known:
			all = append(all, s)
		case s.Assured():
			all[i].State = s.State
		}
	}
	return all
}

// identity is a session without what changes while it lives.
func identity(v nat.Session) nat.Session {
	v.State, v.IdleSeconds, v.Opener, v.Bypassed = "", 0, 0, false
	return v
}
