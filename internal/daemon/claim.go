package daemon

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// claim keeps other gxswitch daemons of the same network namespace away from an
// object: an abstract unix socket (unix(7)) is the namespace's, has one owner,
// and goes with the process, however that ends.
func claim(what string) (*net.UnixConn, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: "@gxswitch/" + what})
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &hinted{fmt.Errorf("another gxswitch daemon has %s", what), "stop that one first, or leave this to it"}
	}
	return conn, err
}

// claimPort claims an interface until releasePort.
func (m *manager) claimPort(index int, name string) error {
	if m.claims[index] != nil {
		return nil
	}
	conn, err := claim(fmt.Sprintf("interface %d", index))
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	m.claims[index] = conn
	return nil
}

// releasePort gives the claim back.
func (m *manager) releasePort(index int) {
	if conn := m.claims[index]; conn != nil {
		conn.Close()
		delete(m.claims, index)
	}
}
