package controltest

import (
	"slices"

	"gxswitch/internal/control"
)

// Forwards implements control.Switch.
func (s *Switch) Forwards(network string) ([]control.Forward, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.known(network, ""); err != nil {
		return nil, err
	}
	var out []control.Forward
	for _, f := range s.forwards {
		if network == "" || network == f.Network {
			out = append(out, f)
		}
	}
	return out, nil
}

// AddForward implements control.Switch.
func (s *Switch) AddForward(spec control.ForwardSpec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.net(spec.Network) == nil {
		return noNetwork(spec.Network)
	}
	for _, f := range s.forwards {
		if f.Network == spec.Network && f.Listen == spec.Listen {
			if f.To == spec.To {
				return nil
			}
			return control.Errorf(control.CodeConflict, "forward %s of network %s exists: to %s, not to %s", f.Listen, f.Network, f.To, spec.To)
		}
	}
	s.forwards = append(s.forwards, control.Forward{Network: spec.Network, Listen: spec.Listen, To: spec.To, Source: "runtime"})
	return nil
}

// DelForward implements control.Switch.
func (s *Switch) DelForward(spec control.ForwardSpec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.forwards)
	s.forwards = slices.DeleteFunc(s.forwards, func(f control.Forward) bool {
		return f.Network == spec.Network && f.Listen == spec.Listen
	})
	if len(s.forwards) == n {
		return control.Errorf(control.CodeNotFound, "forward %s: network %s has none", spec.Listen, spec.Network)
	}
	return nil
}

// Sessions implements control.Switch: one for each network.
func (s *Switch) Sessions(network string) ([]control.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.known(network, ""); err != nil {
		return nil, err
	}
	var out []control.Session
	for _, n := range s.nets {
		if network == "" || network == n.Name {
			out = append(out, control.Session{Network: n.Name, Proto: "tcp", Guest: "10.20.0.10:40000", External: "192.0.2.1:61000",
				Remote: "198.51.100.7:443", State: "established", AgeS: 3})
		}
	}
	return out, nil
}

// FlushNAT implements control.Switch.
func (s *Switch) FlushNAT(network string) (control.Flushed, error) {
	all, err := s.Sessions(network)
	return control.Flushed{Entries: len(all)}, err
}
