package behaviour

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// sniffer is tcpdump in a namespace.
type sniffer struct {
	cmd   *exec.Cmd
	mac   frame.MAC
	lines chan string
}

// sentinel is an EtherType that ends a sniffer's count: what tcpdump saw before
// it is all there was. It is one for tags of old bridges, in which the engine in
// the kernel decides nothing: so no frame that was sent earlier comes later.
const sentinel = 0x9100

// frameLine is the line of a frame; a hex dump may follow it.
var frameLine = regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d+ `)

// sniff starts tcpdump on guest i's eth0.
func sniff(t *testing.T, ns *testnet.NS, i int, filter string) *sniffer {
	t.Helper()
	nettest.Program(t, "tcpdump")
	s := &sniffer{mac: guestMAC(i), lines: make(chan string, 4096)}
	s.cmd = ns.Command(t.Context(), "tcpdump", "-n", "-l", "-e", "-p", "-s", "128", "--immediate-mode", "-i", "eth0",
		fmt.Sprintf("(%s) or (ether proto %#x and ether dst %s)", filter, sentinel, s.mac))
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	log, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for l := bufio.NewScanner(log); l.Scan(); {
		if strings.Contains(l.Text(), "listening on") {
			break
		}
	}
	go func() {
		defer close(s.lines)
		for l := bufio.NewScanner(out); l.Scan(); {
			if frameLine.MatchString(l.Text()) {
				s.lines <- l.Text()
			}
		}
	}()
	return s
}

// count is how many frames of the filter came before the sentinel that is sent
// from another guest now.
func (s *sniffer) count(t *testing.T, from raw) int {
	t.Helper()
	from.send(t, ethernet(s.mac, from.mac, sentinel, 46))
	n := 0
	for line := range s.lines {
		if strings.Contains(line, fmt.Sprintf("%#04x", sentinel)) {
			_ = s.cmd.Process.Signal(unix.SIGTERM)
			_ = s.cmd.Wait()
			return n
		}
		n++
	}
	t.Error("tcpdump ended early")
	return n
}

// After learning, a third guest sees nothing of a unicast flow.
func TestUnicastIsPrivate(t *testing.T) { bothEngines(t, testUnicastIsPrivate) }
func testUnicastIsPrivate(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2, g3 := l.guest(1), l.guest(2), l.guest(3)
	l.start(isolated)
	talk(t, g1, guestIP(2))
	dump := sniff(t, g3, 3, "icmp")
	if r, _ := ping(t, g1, guestIP(2), 500, "-i", "0.001"); r != 500 {
		t.Errorf("%d of 500 replies", r)
	}
	if n := dump.count(t, rawSocket(t, g2, 2)); n != 0 {
		t.Errorf("a third guest saw %d frames of a unicast flow", n)
	}
}

// Broadcast reaches each guest exactly once, and never comes back.
func TestBroadcastOnce(t *testing.T) { bothEngines(t, testBroadcastOnce) }
func testBroadcastOnce(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2, g3 := l.guest(1), l.guest(2), l.guest(3)
	l.start(isolated)
	l.awaitPort("p3", "up")
	const frames = 100
	guests := []*testnet.NS{g1, g2, g3}
	var dumps []*sniffer
	for i, g := range guests {
		dumps = append(dumps, sniff(t, g, i+1, "ether proto 0x88b5"))
	}
	out := rawSocket(t, g1, 1)
	for range frames {
		out.send(t, ethernet(frame.Broadcast, guestMAC(1), 0x88b5, 46))
	}
	for i, dump := range dumps[1:] {
		if n := dump.count(t, out); n != frames {
			t.Errorf("guest %d saw %d frames of %d broadcasts", i+2, n, frames)
		}
	}
	// By now what might have come back to g1 has; it sees its own as they left.
	if n := dumps[0].count(t, rawSocket(t, g2, 2)); n != frames {
		t.Errorf("the sender saw %d frames, having sent %d", n, frames)
	}
}

// A gigabyte arrives as it was sent, by GSO frames with unfinished checksums.
func TestFileArrivesWhole(t *testing.T) { bothEnginesAlone(t, testFileArrivesWhole) }
func testFileArrivesWhole(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2 := l.guest(1), l.guest(2)
	l.start(isolated)
	const size = 1 << 30
	sendFile(t, g2, g1, guestIP(1), size)
	st := l.stats("p2")
	if st.RxBytes < size || st.RxPackets < size/1500 {
		t.Errorf("counters: %d bytes in %d frames, want those of the wire", st.RxBytes, st.RxPackets)
	}
	if st.RxPackets != st.Forwarded+st.Flooded+st.Consumed+st.RxDropped {
		t.Errorf("counters don't add up: %+v", st)
	}
}

// sendFile sends size bytes by TCP and compares checksums.
func sendFile(t *testing.T, from, to *testnet.NS, ip string, size int64) {
	t.Helper()
	out, in := connect(t, from, to, ip)
	defer out.Close()
	type sum [sha256.Size]byte
	received := make(chan sum, 1)
	go func() {
		defer in.Close()
		h := sha256.New()
		_, _ = io.Copy(h, in)
		received <- sum(h.Sum(nil))
	}()
	h := sha256.New()
	file := io.LimitReader(rand.NewChaCha8([32]byte{}), size)
	if _, err := io.Copy(io.MultiWriter(out, h), file); err != nil {
		t.Fatal(err)
	}
	out.Close()
	if got := <-received; got != sum(h.Sum(nil)) {
		t.Errorf("%s to %s: SHA-256 of %d bytes differs", from.Name, to.Name, size)
	}
}

// connect makes a TCP connection between two guests, to the IP address of the
// second.
func connect(t *testing.T, from, to *testnet.NS, ip string) (out, in net.Conn) {
	t.Helper()
	var listener net.Listener
	if err := to.Do(func() (err error) {
		listener, err = net.Listen("tcp", ip+":0")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := from.Do(func() (err error) {
		out, err = net.DialTimeout("tcp", listener.Addr().String(), 5*time.Second)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	in, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return out, in
}

func TestJumbo(t *testing.T) { bothEngines(t, testJumbo) }
func testJumbo(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1 := l.guestMTU(1, 9000)
	l.guestMTU(2, 9000)
	small := l.guestMTU(3, 1500)
	l.start(isolated)
	if r, _ := ping(t, g1, guestIP(2), 20, "-M", "do", "-s", "8972"); r != 20 {
		t.Errorf("%d of 20 replies of 9000 bytes", r)
	}
	talk(t, small, guestIP(1))
	if r, _ := ping(t, g1, guestIP(3), 2, "-M", "do", "-s", "8972"); r != 0 {
		t.Errorf("a guest with MTU 1500 was given 9000 bytes")
	}
	if n := l.stats("p3").Drops["mtu"]; n == 0 {
		t.Error("nothing counted as mtu")
	}
}

// One guest's flood of source addresses costs nobody else an entry.
func TestAddressFlood(t *testing.T) { bothEnginesAlone(t, testAddressFlood) }
func testAddressFlood(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2, g3 := l.guest(1), l.guest(2), l.guest(3)
	l.start(isolated)
	talk(t, g1, guestIP(2))
	out := rawSocket(t, g3, 3)
	before := l.stats("p3")
	const flood = 200_000
	random := rand.NewChaCha8([32]byte{})
	f := ethernet(guestMAC(1), frame.MAC{}, 0x88b5, 46)
	for range flood {
		_, _ = random.Read(f[6:12])
		f[6] = f[6]&^1 | 2
		out.send(t, f)
	}
	nettest.Wait(t, "the flood to be counted", func() (bool, error) {
		return l.stats("p3").RxPackets-before.RxPackets >= flood, nil
	})
	dump := sniff(t, g3, 3, "icmp")
	talk(t, g1, guestIP(2))
	if n := dump.count(t, rawSocket(t, g2, 2)); n != 0 {
		t.Errorf("after the flood %d frames of a unicast flow reached the attacker", n)
	}
	for _, n := range list[[]struct {
		Entries int `json:"fdb_entries"`
		Limit   int `json:"fdb_limit"`
	}](l, "network", "list") {
		if n.Entries > n.Limit {
			t.Errorf("%d entries, limit %d", n.Entries, n.Limit)
		}
	}
}

// What a hostile guest sends is counted under its reason, and the others talk on.
func TestHostileFrames(t *testing.T) { bothEngines(t, testHostileFrames) }
func testHostileFrames(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1 := l.guestMTU(1, 0)
	l.guest(2)
	g3 := l.guestMTU(3, 65535)
	l.start(isolated)
	talk(t, g1, guestIP(2))
	out := rawSocket(t, g3, 3)
	for _, c := range []struct {
		name   string
		bytes  []byte
		reason string // at p3; "" where it is forwarded
	}{
		{"zero source", ethernet(guestMAC(1), frame.MAC{}, 0x88b5, 46), "malformed"},
		{"multicast source", ethernet(guestMAC(1), frame.MAC{1, 0, 0, 0, 0, 1}, 0x88b5, 46), "malformed"},
		{"pause frame", ethernet(frame.MAC{1, 0x80, 0xc2, 0, 0, 1}, guestMAC(3), 0x8808, 46), "reserved"},
		{"LLDP", ethernet(frame.MAC{1, 0x80, 0xc2, 0, 0, 0x0e}, guestMAC(3), 0x88cc, 46), "reserved"},
		{"VID 4095", append(ethernet(guestMAC(1), guestMAC(3), 0x8100, 0), append([]byte{0x0f, 0xff, 0x88, 0xb5}, make([]byte, 46)...)...), "vlan_denied"},
		{"header alone", ethernet(guestMAC(1), guestMAC(3), 0x88b5, 0), ""},
		{"double tag", append(ethernet(guestMAC(1), guestMAC(3), 0x8100, 0), append([]byte{0, 5, 0x81, 0, 0, 6, 0x88, 0xb5}, make([]byte, 46)...)...), ""},
		{"64 KiB to a port of 1500", ethernet(guestMAC(1), guestMAC(3), 0x88b5, 65535), ""},
		{"to itself", ethernet(guestMAC(3), guestMAC(3), 0x88b5, 46), "same_port"},
	} {
		before := l.stats("p3")
		out.send(t, c.bytes)
		nettest.Wait(t, c.name+" to be counted", func() (bool, error) { return l.stats("p3").RxPackets > before.RxPackets, nil })
		after := l.stats("p3")
		for reason, n := range after.Drops {
			if d := n - before.Drops[reason]; d != 0 && reason != c.reason {
				t.Errorf("%s: %d dropped as %s, want %q", c.name, d, reason, c.reason)
			}
		}
		if c.reason != "" && after.Drops[c.reason] != before.Drops[c.reason]+1 {
			t.Errorf("%s: %d dropped as %s, want 1", c.name, after.Drops[c.reason]-before.Drops[c.reason], c.reason)
		}
	}
	if n := l.stats("p1").Drops["mtu"]; n != 1 {
		t.Errorf("p1 dropped %d frames as mtu, want 1", n)
	}
	talk(t, g1, guestIP(2))
}

// raw is a packet socket on a guest's eth0.
type raw struct {
	fd  int
	mac frame.MAC
}

// rawSocket opens one on guest i's.
func rawSocket(t *testing.T, ns *testnet.NS, i int) raw {
	t.Helper()
	return rawSocketOn(t, ns, "eth0", i)
}

// rawSocketOn opens one on another interface.
func rawSocketOn(t *testing.T, ns *testnet.NS, name string, i int) raw {
	t.Helper()
	r := raw{mac: guestMAC(i)}
	err := ns.Do(func() error {
		link, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		if r.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.Bind(r.fd, &unix.SockaddrLinklayer{Ifindex: link.Index})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(r.fd) })
	return r
}

func (r raw) send(t *testing.T, b []byte) {
	t.Helper()
	for {
		_, err := unix.Write(r.fd, b)
		if err == unix.ENOBUFS || err == unix.EAGAIN {
			continue
		}
		if err != nil {
			t.Fatalf("send %d bytes: %v", len(b), err)
		}
		return
	}
}

// ethernet is a frame with n bytes of payload.
func ethernet(dst, src frame.MAC, ethertype uint16, n int) []byte {
	b := append(append(dst[:], src[:]...), byte(ethertype>>8), byte(ethertype))
	return append(b, make([]byte, n)...)
}
