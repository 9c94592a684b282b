//go:build realxen

package realxen

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gxswitch/internal/xen"
)

// patience is for what takes a second on a common machine.
const patience = 2 * time.Minute

// try runs a program and returns what it printed.
func try(args ...string) (string, error) {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	return string(out), err
}

func must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := try(args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

// await asks rarely: whoever asks takes the one processor from the guests.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(300 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
	}
}

// domain is a guest by its name; its number changes.
type domain string

// create makes a guest with the NICs given, the insides of xl's vif = [ ].
func create(t *testing.T, name string, vifs ...string) domain {
	t.Helper()
	if out, err := tryCreate(t, name, vifs...); err != nil {
		t.Fatalf("xl create %s: %v\n%s", name, err, out)
	}
	d := domain(name)
	d.awaitReady(t)
	return d
}

func tryCreate(t *testing.T, name string, vifs ...string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".cfg")
	for i, v := range vifs {
		vifs[i] = "'" + v + "'"
	}
	text := fmt.Sprintf(`name = %q
kernel = "/bench/vmlinuz"
ramdisk = "/bench/guest.gz"
memory = 128
type = "pv"
extra = "console=hvc0 quiet rdinit=/init panic=1"
vif = [ %s ]
on_crash = "destroy"
`, name, strings.Join(vifs, ", "))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return try("xl", "create", file)
}

// peek is a value of xenstore, "" if there is none.
func peek(path string) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := xen.Dial(ctx, xen.SocketPath(os.Getenv))
	if err != nil {
		return ""
	}
	defer c.Close()
	v, err := c.Read(ctx, path)
	if err != nil {
		return ""
	}
	return v
}

func poke(t *testing.T, path, value string) {
	t.Helper()
	c, err := xen.Dial(t.Context(), xen.SocketPath(os.Getenv))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Write(t.Context(), path, value); err != nil {
		t.Fatal(err)
	}
}

// id is the domain's number, "" if there is none.
func (d domain) id() string {
	out, err := try("xl", "domid", string(d))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

// data is where the guest and dom0 talk, see xen/bench/domu-init.
func (d domain) data() string { return "/local/domain/" + d.id() + "/data/" }

func (d domain) awaitReady(t *testing.T) {
	t.Helper()
	data := d.data()
	await(t, "guest "+string(d), func() bool { return peek(data+"ready") == "1" })
}

// try runs shell commands in the guest, whatever its network does.
func (d domain) try(t *testing.T, commands string) (out string, exit int) {
	t.Helper()
	seq := strconv.FormatInt(time.Now().UnixNano(), 10)
	data := d.data()
	poke(t, data+"cmd", commands)
	poke(t, data+"seq", seq)
	var done []string
	await(t, string(d)+" to answer", func() bool {
		done = strings.Fields(peek(data + "done"))
		return len(done) == 3 && done[0] == seq
	})
	chunks, err := strconv.Atoi(done[2])
	if err != nil {
		t.Fatal(err)
	}
	for i := range chunks {
		out += strings.TrimSuffix(peek(data+"out"+strconv.Itoa(i)), ".")
	}
	exit, err = strconv.Atoi(done[1])
	if err != nil {
		t.Fatal(err)
	}
	return out, exit
}

func (d domain) must(t *testing.T, commands string) string {
	t.Helper()
	out, exit := d.try(t, commands)
	if exit != 0 {
		t.Fatalf("%s: %s: exit %d\n%s", d, commands, exit, out)
	}
	return out
}

// reaches expects every one of ten pings answered; the first may wait for ARP.
func (d domain) reaches(t *testing.T, addr string) {
	t.Helper()
	if out, exit := d.try(t, "ping -c 1 -W 5 "+addr+"; ping -c 10 -i 0.2 -W 3 "+addr); exit != 0 || !strings.Contains(out, "10 packets received") {
		t.Errorf("%s to %s:\n%s", d, addr, out)
	}
}

func (d domain) reachesNot(t *testing.T, addr string) {
	t.Helper()
	if out, exit := d.try(t, "ping -c 3 -i 0.2 -W 1 "+addr); exit == 0 {
		t.Errorf("%s reaches %s:\n%s", d, addr, out)
	}
}

// dhcp gives the guest's NIC the address that DHCP says, and returns it.
func (d domain) dhcp(t *testing.T, nic string) string {
	t.Helper()
	return strings.TrimSpace(d.must(t, `cat >/tmp/hook <<'X'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr flush dev $interface
ip addr add $ip/$mask dev $interface
[ -z "$router" ] || ip route replace $router dev $interface
[ -z "$router" ] || ip route replace default via $router
echo $ip >/tmp/ip
X
chmod +x /tmp/hook; rm -f /tmp/ip
udhcpc -i `+nic+` -f -q -n -t 5 -T 3 -s /tmp/hook >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
cat /tmp/ip`))
}
