package xen

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
	"gxswitch/internal/xen/xentest"
	"gxswitch/shaping"
)

func TestVifIsWhatXLWrote(t *testing.T) {
	s, c := connect(t)
	s.AddVif(2, 1, "web1", map[string]string{
		"mac": "00:16:3E:AA:bb:cc", "bridge": "lan0", "type": "vif_ioemu", "ip": "10.0.0.5  2001:db8::5/128 10.0.0.5",
		"vlan": "10p/20", "rate": "250000,20000", "mtu": "1400", "vifname": "web0", "gatewaydev": "eth0.7",
	})
	set, err := vlan.Parse("10p/20")
	if err != nil {
		t.Fatal(err)
	}
	rate, err := shaping.ParseLimit("100Mb/s@20ms")
	if err != nil {
		t.Fatal(err)
	}
	want := Vif{
		ID: ID{2, 1}, UUID: xentest.UUID(2), Domain: "web1",
		MAC: frame.MAC{0x00, 0x16, 0x3e, 0xaa, 0xbb, 0xcc}, Bridge: "lan0",
		IPs:  []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("2001:db8::5")},
		VLAN: set, Rate: rate, MTU: 1400, VifName: "web0", Emulated: true, GatewayDev: "eth0.7",
		Script: "/etc/xen/scripts/vif-gxswitch",
	}
	got, err := ReadVif(t.Context(), c, ID{2, 1})
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(vlan.Set{}, shaping.Limit{}, netip.Addr{})); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
	if got.Interface() != "web0" || got.Tap() != "web0-emu" {
		t.Errorf("%s, %s", got.Interface(), got.Tap())
	}
}

func TestVifWithoutOptionsHasNone(t *testing.T) {
	s, c := connect(t)
	s.AddVif(1, 0, "a", map[string]string{"bridge": "-", "type": "-", "script": "-", "handle": "-"})
	want := Vif{ID: ID{1, 0}, UUID: xentest.UUID(1), Domain: "a", MAC: frame.MAC{0x00, 0x16, 0x3e, 0, 1, 0}}
	got, err := ReadVif(t.Context(), c, ID{1, 0})
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(vlan.Set{}, shaping.Limit{})); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
	if got.Interface() != "vif1.0" || got.Tap() != "vif1.0-emu" {
		t.Errorf("%s, %s", got.Interface(), got.Tap())
	}
}

func TestBadValuesNameKeyValueAndMend(t *testing.T) {
	for _, c := range []struct{ key, value, says, hint string }{
		{"mac", "", "six hexadecimal octets", "mac=00:16:3e"},
		{"mac", "00:16:3e:11:22", "six hexadecimal octets", "mac=00:16:3e"},
		{"mac", "00:00:00:00:00:00", "null address", "leave it out"},
		{"mac", "ff:ff:ff:ff:ff:ff", "group address", "leave it out"},
		{"mac", "01:16:3e:11:22:33", "group address", "leave it out"},
		{"mac", "00:16:3e:11:22:33\n", "six hexadecimal octets", "mac=00:16:3e"},
		{"frontend", "/local/domain/0/device/vif/0", `want "/local/domain/1/device/vif/0"`, "create it anew"},
		{"frontend", "/local/domain/1/device/vif/0/../../../../0", `want "/local/domain/1/device/vif/0"`, "create it anew"},
		{"frontend-id", "2", `want "1"`, "create it anew"},
		{"handle", "1", `want "0"`, "create it anew"},
		{"type", "tap", "want vif or vif_ioemu", "type=ioemu"},
		{"bridge", "LAN", "no network can be named that", "gxswitch network list"},
		{"bridge", "../../etc", "no network can be named that", "gxswitch network list"},
		{"bridge", "..", "no network can be named that", "gxswitch network list"},
		{"bridge", "a;reboot", "no network can be named that", "gxswitch network list"},
		{"bridge", "$(reboot)", "no network can be named that", "gxswitch network list"},
		{"bridge", "lan0\nlan1", "no network can be named that", "gxswitch network list"},
		{"bridge", "a234567890123456", "has 16 bytes", "gxswitch network list"},
		{"ip", "10.0.0", `"10.0.0" is not an IP address`, "ip=10.0.0.5"},
		{"ip", "10.0.0.5,10.0.0.6", "is not an IP address", "blanks between"},
		{"ip", "10.0.0.5/24", "whole subnet", "ip=10.0.0.5, without"},
		{"ip", "10.0.0.5/", "whole subnet", "without a prefix"},
		{"ip", "0.0.0.0", "no guest can have", "own addresses"},
		{"ip", "224.0.0.1", "no guest can have", "own addresses"},
		{"ip", "127.0.0.1", "no guest can have", "own addresses"},
		{"ip", "255.255.255.255", "no guest can have", "own addresses"},
		{"ip", "::", "no guest can have", "own addresses"},
		{"ip", "fe80::1%eth0", "is not an IP address", "own addresses"},
		{"ip", "::ffff:10.0.0.5", "IPv4 address in the form", "write 10.0.0.5"},
		{"ip", "10.0.0.5 `reboot`", "is not an IP address", "own addresses"},
		{"vlan", "", "character 1", ""},
		{"vlan", "10/20", "", ""},
		{"vlan", "10p/4095", "character 5", ""},
		{"rate", "", "want bytes and microseconds", "rate=100Mb/s"},
		{"rate", "100Mb/s", "want bytes and microseconds", "rate=100Mb/s"},
		{"rate", "1,2,3", "want bytes and microseconds", "rate=100Mb/s"},
		{"rate", "-1,50000", "want bytes and microseconds", "rate=100Mb/s"},
		{"rate", "0,50000", "less than a byte in each interval of 50000 µs", "longer interval"},
		{"rate", "1000,0", "interval is 0", "rate=100Mb/s"},
		{"rate", "18446744073709551616,50000", "more than 18446744073709551615", "rate=100Mb/s"},
		{"rate", "1000,4294967296", "longer than 4294967295", "rate=100Mb/s"},
		{"mtu", "", "want 68 to 65517", "mtu=1500"},
		{"mtu", "67", "want 68 to 65517", "mtu=1500"},
		{"mtu", "65518", "want 68 to 65517", "mtu=1500"},
		{"mtu", "01500", "want 68 to 65517", "mtu=1500"},
		{"mtu", "+1500", "want 68 to 65517", "mtu=1500"},
		{"mtu", "99999999999999999999", "want 68 to 65517", "mtu=1500"},
		{"vifname", "..", "no interface can be named that", "vifname="},
		{"vifname", "../../x", "no interface can be named that", "vifname="},
		{"vifname", "eth%d", "no interface can be named that", "vifname="},
		{"vifname", "-x", "no interface can be named that", "vifname="},
		{"vifname", "a b", "no interface can be named that", "vifname="},
		{"vifname", "a`id`", "no interface can be named that", "vifname="},
		{"vifname", "a234567890123456", "has 16 bytes", "vifname="},
		{"vifname", "vif7.0", "another domain's vif", "vifname="},
		{"vifname", "vif1.0-emu", "another domain's vif", "vifname="},
		{"gatewaydev", "/dev/null", "no interface can be named that", "gatewaydev="},
		{"script", "/etc/\x1b[2J", "can't be shown", "printable"},
		{"script", "/etc/\xff", "not UTF-8", "printable"},
	} {
		refused(t, ID{1, 0}.BackendPath()+"/"+c.key, c.value, c.says, c.hint)
	}
	for _, c := range []struct{ key, value, says, hint string }{
		{"/local/domain/1/vm", "", "want /vm/UUID", "create it anew"},
		{"/local/domain/1/vm", "/vm/../local/domain/0", "want /vm/UUID", "create it anew"},
		{"/local/domain/1/vm", "/vm/a b", "want /vm/UUID", "create it anew"},
		{"/vm/" + xentest.UUID(1) + "/uuid", "1", "not a UUID", "uuid="},
		{"/vm/" + xentest.UUID(1) + "/uuid", "5ca1ab1e-0000-4000-8000-00000000000g", "not a UUID", "uuid="},
		{"/vm/" + xentest.UUID(1) + "/name", "", "has no name", "xl rename"},
		{"/vm/" + xentest.UUID(1) + "/name", "web\nhotplug: all is well", "can't be shown", "printable"},
		{"/vm/" + xentest.UUID(1) + "/name", strings.Repeat("x", 256), "256 bytes", "shorter"},
	} {
		refused(t, c.key, c.value, c.says, c.hint)
	}
}

// refused has a vif with one bad value read, in memory.
func refused(t *testing.T, key, value, says, hint string) {
	t.Helper()
	s := xentest.New(t)
	defer s.Close()
	s.AddVif(1, 0, "web1", nil)
	s.Set(key, value)
	v, err := readVif(ID{1, 0}, func(path string) (string, error) {
		if !s.Exists(path) {
			return "", fs.ErrNotExist
		}
		return s.Value(path), nil
	})
	e, ok := errors.AsType[*ValueError](err)
	if !ok || e.Key != key || e.Value != value || !strings.Contains(e.Msg, says) || !strings.Contains(e.Hint, hint) || e.Hint == "" {
		t.Errorf("%s = %.80q: %+v, %v", key, value, v, err)
		return
	}
	checkLine(t, Message(e), 600)
	if want := fmt.Sprintf("%s: %s: ", key, quote(value)); !strings.HasPrefix(e.Error(), want) {
		t.Errorf("%q does not begin with %q", e, want)
	}
}

func TestVifnameLeavesRoomForTheTap(t *testing.T) {
	for _, c := range []struct {
		kind, name string
		ok         bool
	}{
		{"vif", "abcdefghijklmno", true},
		{"vif_ioemu", "abcdefghijk", true},
		{"vif_ioemu", "abcdefghijkl", false},
		{"vif_ioemu", "vif1.0", true},
		{"vif", "", true},
	} {
		s, client := connect(t)
		s.AddVif(1, 0, "web1", map[string]string{"type": c.kind, "vifname": c.name})
		v, err := ReadVif(t.Context(), client, ID{1, 0})
		if (err == nil) != c.ok || c.ok && v.VifName != c.name {
			t.Errorf("type=%s vifname=%s: %q, %v", c.kind, c.name, v.VifName, err)
		}
	}
}

func TestMissingKeysAreNamed(t *testing.T) {
	s, c := connect(t)
	backend := s.AddVif(1, 0, "web1", nil)
	for _, key := range []string{backend + "/mac", "/local/domain/1/vm", backend} {
		s.AddVif(1, 0, "web1", nil)
		s.Remove(key)
		_, err := ReadVif(t.Context(), c, ID{1, 0})
		if e, ok := errors.AsType[*ValueError](err); !ok || !e.Missing || !strings.HasPrefix(e.Key, key) || !strings.Contains(err.Error(), "there is no such key") {
			t.Errorf("without %s: %v", key, err)
		}
	}
}

// xl destroy of one of two domains with the same UUID.
func TestWhatXLSaidOfTheVMMayBeGone(t *testing.T) {
	s, c := connect(t)
	s.AddVif(1, 0, "web1", nil)
	s.Remove("/vm/" + xentest.UUID(1))
	v, err := ReadVif(t.Context(), c, ID{1, 0})
	if err != nil || v.Domain != "web1" || v.UUID != xentest.UUID(1) {
		t.Errorf("%+v, %v", v, err)
	}
	s.Remove("/local/domain/1/name")
	if _, err := ReadVif(t.Context(), c, ID{1, 0}); err == nil || !strings.HasPrefix(err.Error(), "/local/domain/1/name: ") {
		t.Error(err)
	}
	s.Set("/local/domain/1/vm", "/vm/1")
	if _, err := ReadVif(t.Context(), c, ID{1, 0}); err == nil || !strings.HasPrefix(err.Error(), "/vm/1/uuid: ") {
		t.Error(err)
	}
}

func TestHugeValuesAndBrokenStoresAreErrors(t *testing.T) {
	s, c := connect(t)
	backend := s.AddVif(1, 0, "web1", nil)
	s.Set(backend+"/ip", strings.Repeat("10.0.0.5 ", 1200))
	if _, err := ReadVif(t.Context(), c, ID{1, 0}); err == nil || !strings.Contains(err.Error(), "4096 are the most") {
		t.Errorf("%v", err)
	}
	for n := range 15 {
		c := dial(t, s.Path())
		s.AddVif(1, 0, "web1", map[string]string{"ip": "10.0.0.5"})
		s.Misbehave(xentest.HungUp, n)
		if _, err := ReadVif(t.Context(), c, ID{1, 0}); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a store that ends after %d answers: %v", n, err)
		}
	}
}

func TestVIFsListsWhatDom0Serves(t *testing.T) {
	s, c := connect(t)
	if got, err := VIFs(t.Context(), c); len(got) != 0 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for _, id := range []ID{{1, 0}, {1, 1}, {12, 0}} {
		s.AddVif(id.DomID, id.DevID, "x", nil)
	}
	s.Set("/local/domain/0/backend/vif/x/0", "")
	s.Set("/local/domain/0/backend/vif/13", "")
	got, err := VIFs(t.Context(), c)
	if want := []ID{{1, 0}, {1, 1}, {12, 0}}; !slices.Equal(got, want) || err != nil {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}
