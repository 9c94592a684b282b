package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gxswitch/nat"
)

// savedSessions is what a NAT network keeps in the state directory, so that
// connections outlive the daemon. It means something only in the boot and network
// namespace it was written in, as the journal does.
type savedSessions struct {
	BootID   string         `json:"boot_id"`
	NetNS    uint64         `json:"netns"`
	Secret   [2]uint64      `json:"secret"` // see nat.Config
	Sessions []savedSession `json:"sessions"`
}

// savedSession has its opener by name: numbers of ports are another daemon's.
type savedSession struct {
	nat.Session
	Port string `json:"port,omitempty"`

	guestLink int // by the kernel's account: the interface whose guest it counts for; 0: see Port
}

// How often sessions are written: a big table seldom.
const (
	saveEvery    = 5 * time.Second
	saveBigEvery = time.Minute
	bigTable     = 4096
)

func (m *manager) sessionsFile(network string) string {
	return filepath.Join(m.stateDir, "nat-"+network+".json")
}

// loadSessions reads what an earlier daemon kept of the network.
func (m *manager) loadSessions(network string) (s savedSessions) {
	b, err := os.ReadFile(m.sessionsFile(network))
	if errors.Is(err, fs.ErrNotExist) {
		return s
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		m.log.Warn("NAT sessions of the last run can't be read, they begin anew", "network", network, "err", err)
		return savedSessions{}
	}
	if s.BootID != m.bootID || s.NetNS != m.netNS {
		return savedSessions{}
	}
	return s
}

// saveSessions writes the network's sessions in one step.
func (m *manager) saveSessions(n *network) error {
	name := m.sw.GuestNames()
	s := savedSessions{BootID: m.bootID, NetNS: m.netNS, Secret: n.gate.secret}
	for _, session := range n.gate.nat.Sessions(m.sw.Seconds()) {
		s.Sessions = append(s.Sessions, savedSession{Session: session, Port: name[session.Opener]})
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	file := m.sessionsFile(n.spec.Name)
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		return fmt.Errorf("write NAT sessions: %w", err)
	}
	return os.Rename(file+".new", file)
}

func (m *manager) saveOrSay(n *network) {
	if err := m.saveSessions(n); err != nil {
		m.log.Error("keep sessions", "network", n.spec.Name, "err", err)
	}
}

// restoreSessions opens the sessions of an earlier daemon, once their external
// address is there.
func (m *manager) restoreSessions(n *network) {
	saved := n.gate.saved
	n.gate.saved = nil
	if len(saved) == 0 {
		return
	}
	number := map[string]nat.Guest{}
	for id, name := range m.sw.GuestNames() {
		number[name] = id
	}
	now, inherited := m.sw.Seconds(), false
	var sessions []nat.Session
	for _, s := range saved {
		if s.guestLink != 0 {
			p := m.ports[s.guestLink]
			if p == nil || !slices.Contains(p.members, n.spec.Name) {
				continue // its guest is elsewhere now
			}
			s.Port, inherited = p.name(), true
		}
		s.Opener = number[s.Port]
		s.IdleSeconds += now - n.gate.savedAt
		sessions = append(sessions, s.Session)
	}
	m.log.Info("NAT sessions restored", "network", n.spec.Name, "sessions", n.gate.nat.Restore(sessions, now))
	if inherited { // else they would be nowhere but in this process
		m.saveOrSay(n)
	}
}

// keepSessions writes them now and then, so that a daemon that is killed loses
// only the last ones.
func (m *manager) keepSessions(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for round := 1; ; round++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m.mu.Lock()
		for _, n := range m.networks {
			if n.gate == nil || n.gate.nat == nil || n.gate.saved != nil {
				continue
			}
			if n.gate.nat.Len() > bigTable && round%int(saveBigEvery/saveEvery) != 0 {
				continue
			}
			m.saveOrSay(n)
		}
		m.mu.Unlock()
	}
}
