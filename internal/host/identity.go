package host

import (
	"crypto/hmac"
	"crypto/sha256"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
)

// BootID names the time since the machine was started: indexes of links mean
// something only within it. It is "" where procfs has none.
func BootID() string { return readWord("/proc/sys/kernel/random/boot_id") }

// NetNS names the network namespace of the calling thread: the inode of its
// handle, or 0 where procfs is missing.
func NetNS() uint64 {
	var st unix.Stat_t
	if unix.Stat("/proc/thread-self/ns/net", &st) != nil {
		return 0
	}
	return st.Ino
}

// stableMAC is a locally administered address that the machine gives an
// interface time and again. It does not give away the machine's id, which
// machine-id(5) wants to stay on the machine.
func stableMAC(network, end string) frame.MAC {
	id := readWord("/etc/machine-id")
	if id == "" || id == "uninitialized" {
		id = BootID()
	}
	h := hmac.New(sha256.New, []byte(id))
	h.Write([]byte("gxswitch\x00" + network + "\x00" + end))
	mac := frame.MAC(h.Sum(nil)[:6])
	mac[0] = mac[0]&^0x01 | 0x02 // unicast, locally administered
	return mac
}

func readWord(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
