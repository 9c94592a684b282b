package lease

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"gxswitch/internal/frame"
)

// file is what Encode writes.
type file struct {
	Version int      `json:"version"`
	Leases  []record `json:"leases"`
}

const fileVersion = 1

type record struct {
	Addr     netip.Addr `json:"ip"`
	MAC      frame.MAC  `json:"mac"`
	Hostname string     `json:"hostname,omitempty"`
	Port     string     `json:"port,omitempty"`
	Counted  bool       `json:"counted,omitempty"`
	State    string     `json:"state"`
	Until    time.Time  `json:"expires"`
}

// Encode is what a table of a later program needs. Offers are not part of it.
func (t *Table) Encode() ([]byte, error) {
	t.mu.RLock()
	f := file{Version: fileVersion, Leases: []record{}}
	for _, e := range t.sorted() {
		if e.state != offered {
			f.Leases = append(f.Leases, record{e.addr, e.mac, e.name, e.port, e.counted, e.state.String(), e.until.UTC()})
		}
	}
	t.mu.RUnlock()
	return json.MarshalIndent(f, "", " ")
}

func (s state) String() string { return [...]string{"offered", "bound", "blocked", "past"}[s] }

// Decode fills an empty table with what another one's Encode wrote, and has a
// Given event for every lease that still holds. A damaged text changes nothing.
func (t *Table) Decode(text []byte, now time.Time) error {
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return err
	}
	if f.Version != fileVersion {
		return fmt.Errorf("version %d is unknown to this program", f.Version)
	}
	entries := make([]*entry, 0, len(f.Leases))
	seen, macs := map[netip.Addr]bool{}, map[frame.MAC]bool{}
	for i, r := range f.Leases {
		e := &entry{addr: r.Addr, mac: r.MAC, name: Label(r.Hostname), port: r.Port, counted: r.Counted, until: r.Until}
		switch r.State {
		case "bound":
			e.state = bound
		case "past":
			e.state, e.counted = past, false
		case "blocked":
			e.state = blocked
		default:
			return fmt.Errorf("lease %d: unknown state %q", i+1, r.State)
		}
		if !e.addr.Is4() || seen[e.addr] || (e.state == blocked) != e.mac.IsZero() || macs[e.mac] && e.state != blocked {
			return fmt.Errorf("lease %d: no IPv4 address and MAC of its own", i+1)
		}
		seen[e.addr], macs[e.mac] = true, true
		entries = append(entries, e)
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range entries {
		t.byAddr[e.addr] = e
		if e.state != blocked {
			t.held[e.mac] = e
		}
		if e.counted {
			t.ports[e.port]++
		}
		if e.state == bound && now.Before(e.until) {
			t.events = append(t.events, Event{Given, e.lease()})
		}
	}
	t.next = now
	t.leaveSubnets()
	t.reviewNames()
	t.expire(now)
	return nil
}
