package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// The kernel chooses the port of a connection from ip_local_port_range, but none
// of these (ip-sysctl.rst). A program that asks for one of them gets it.
const reservedPorts = "/proc/sys/net/ipv4/ip_local_reserved_ports"

// ReservePorts keeps the connections of the host's own out of ports first to
// last, and leaves what others have reserved as it is. It tells which it added,
// for RestorePorts; those that were reserved already are not among them, be it by
// another or by a daemon that was killed.
func ReservePorts(first, last uint16) (added string, err error) {
	added, err = changePorts(first, last, true)
	if err != nil {
		return "", fmt.Errorf("reserve ports %d-%d: %w", first, last, err)
	}
	return added, nil
}

// UnreservedPorts is what ReservePorts would add, for a journal that is written
// before it does.
func UnreservedPorts(first, last uint16) (string, error) {
	missing, err := changePorts(first, last, false)
	if err != nil {
		return "", fmt.Errorf("read reserved ports: %w", err)
	}
	return missing, nil
}

func changePorts(first, last uint16, write bool) (string, error) {
	if last < first || first == 0 {
		return "", errors.New("want the lower port first, 1 to 65535")
	}
	set, err := readReserved()
	if err != nil {
		return "", err
	}
	var added portSet
	for p := int(first); p <= int(last); p++ {
		added[p], set[p] = !set[p], true
	}
	if text := added.String(); text == "" || !write {
		return text, nil
	}
	return added.String(), writeReserved(&set)
}

// RestorePorts takes out what ReservePorts has added, and nothing else. Ports
// that are no longer reserved are none the worse for it.
func RestorePorts(added string) error {
	if err := restorePorts(added); err != nil {
		return fmt.Errorf("take reserved ports %s back: %w", added, err)
	}
	return nil
}

func restorePorts(added string) error {
	out, err := parsePorts(added)
	if err != nil {
		return err
	}
	set, err := readReserved()
	if err != nil {
		return err
	}
	changed := false
	for p := range set {
		if set[p] && out[p] {
			set[p], changed = false, true
		}
	}
	if !changed {
		return nil
	}
	return writeReserved(&set)
}

// portSet is all ports, those that are in it true.
type portSet [1 << 16]bool

// parsePorts reads the kernel's way to write a set: 8080,61000-65535.
func parsePorts(text string) (portSet, error) {
	var set portSet
	text = strings.TrimSpace(text)
	if text == "" {
		return set, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(item, "-")
		first, err := strconv.ParseUint(from, 10, 16)
		last := first
		if err == nil && isRange {
			last, err = strconv.ParseUint(to, 10, 16)
		}
		if err != nil || last < first {
			return set, fmt.Errorf("%q is no range of ports", item)
		}
		for p := first; p <= last; p++ {
			set[p] = true
		}
	}
	return set, nil
}

func (s *portSet) String() string {
	var b strings.Builder
	for p := 0; p < len(s); p++ {
		if !s[p] {
			continue
		}
		first := p
		for p+1 < len(s) && s[p+1] {
			p++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(first))
		if p > first {
			b.WriteString("-" + strconv.Itoa(p))
		}
	}
	return b.String()
}

func readReserved() (portSet, error) {
	f, err := os.Open(reservedPorts)
	if err != nil {
		return portSet{}, err
	}
	defer f.Close()
	// The kernel gives it in one read, and cuts off what does not fit
	// (proc_do_large_bitmap). Each second port, with a comma, fits.
	b := make([]byte, len(portSet{})/2*len("65535,"))
	n, err := f.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		return portSet{}, err
	}
	return parsePorts(string(b[:n]))
}

// writeReserved replaces the whole set: the kernel knows no other way. What
// another writes between our reading and writing is lost.
func writeReserved(set *portSet) error {
	return os.WriteFile(reservedPorts, []byte(set.String()+"\n"), 0)
}
