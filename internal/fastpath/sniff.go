package fastpath

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// A frame that bpf_redirect_peer delivers is not transmitted by the host's end of
// the veth, so that a packet socket there (packet(7); tcpdump) does not see it. A
// port at which somebody listens is therefore written to the ordinary way.

// WatchSniffers finds out where somebody listens and makes the program follow. It is
// to be called about once a second.
func (e *Engine) WatchSniffers() error {
	at, err := sniffed()
	if err != nil {
		return err
	}
	e.mu.Lock()
	var changed []*Port
	for _, p := range e.ports {
		if p != nil && p.sniffed.Load() != (at[p.ifindex] || at[0]) {
			changed = append(changed, p)
		}
	}
	e.mu.Unlock()
	var errs []error
	for _, p := range changed {
		errs = append(errs, p.change(&p.sniffed, !p.sniffed.Load()))
	}
	return errors.Join(errs...)
}

// sniffed are the interfaces of this network namespace with packet sockets that
// see frames of every protocol; 0 stands for a socket of all interfaces.
func sniffed() (map[int]bool, error) {
	text, err := os.ReadFile("/proc/thread-self/net/packet")
	if err != nil {
		return nil, fmt.Errorf("see who listens at ports: %w", err)
	}
	at := map[int]bool{}
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line) // sk, references, type, protocol, interface, …
		if len(f) < 5 {
			continue
		}
		if protocol, err := strconv.ParseUint(string(f[3]), 16, 16); err != nil || protocol != unix.ETH_P_ALL {
			continue
		}
		if ifindex, err := strconv.Atoi(string(f[4])); err == nil {
			at[ifindex] = true
		}
	}
	return at, nil
}
