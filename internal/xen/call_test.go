package xen

import (
	"errors"
	"strings"
	"testing"
)

// env is what xl sets for an emulated NIC, whatever it calls for.
func env(more ...string) func(string) string {
	e := map[string]string{
		"script": "/etc/xen/scripts/vif-gxswitch", "XENBUS_TYPE": "vif", "XENBUS_PATH": "backend/vif/2/1",
		"XENBUS_BASE_PATH": "backend", "vif": "vif2.1", "netdev": "", "INTERFACE": "vif2.1-emu",
	}
	for _, m := range more {
		key, value, _ := strings.Cut(m, "=")
		e[key] = value
	}
	return func(key string) string { return e[key] }
}

func TestCallIsWhatXLMeans(t *testing.T) {
	vif := func(a Action) Call { return Call{Action: a, ID: ID{2, 1}, Interface: "vif2.1"} }
	tap := func(a Action) Call { return Call{Action: a, ID: ID{2, 1}, Interface: "vif2.1-emu"} }
	for _, c := range []struct {
		args string
		env  func(string) string
		want Call
	}{
		{"online type_if=vif", env(), vif(Online)},
		{"offline type_if=vif", env(), vif(Offline)},
		{"add type_if=tap", env(), tap(Add)},
		{"remove type_if=tap", env(), tap(Remove)},
		{"online", env(), vif(Online)},
		{"offline", env(), vif(Offline)},
		{"type_if=vif online", env(), vif(Online)},
		{"add", env("type_if=tap"), tap(Add)},
		{"online type_if=tap", env(), Call{}},
		{"offline type_if=tap", env(), Call{}},
		{"online type_if=wlan", env(), Call{}},
		{"add type_if=vif", env(), Call{}},
		{"remove type_if=vif", env(), Call{}},
		{"add", env(), Call{}},
		{"remove", env(), Call{}},
		{"add type_if=vif", env("XENBUS_PATH=rubbish", "vif="), Call{}},
		{"online type_if=vif", env("XENBUS_PATH=/local/domain/0/backend/vif/2/1"), vif(Online)},
		{"online type_if=vif", env("vif="), vif(Online)},
		{"online type_if=vif", env("XENBUS_TYPE="), vif(Online)},
		{"online type_if=vif", env("INTERFACE=rubbish"), vif(Online)},
		{"add type_if=tap", env("XENBUS_PATH=", "vif="), tap(Add)},
		{"add type_if=tap INTERFACE=vif3.4-emu", env(), Call{Action: Add, ID: ID{3, 4}, Interface: "vif3.4-emu"}},
		{"online type_if=vif", env("netdev=eth0"), Call{Action: Online, ID: ID{2, 1}, Interface: "vif2.1", GatewayDev: "eth0"}},
	} {
		got, err := ParseCall(strings.Fields(c.args), c.env)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.args, got, err, c.want)
		}
	}
}

func TestCallThatCannotBeRightSaysWhatIsWrong(t *testing.T) {
	long := strings.Repeat("9", 10000)
	for _, c := range []struct {
		args string
		env  func(string) string
		key  string
	}{
		{"", env(), "action"},
		{"type_if=vif", env(), "action"},
		{"up", env(), "action"},
		{long, env(), "action"},
		{"--help", env(), "action"},
		{"Online", env(), "action"},
		{"online", env("XENBUS_PATH="), "XENBUS_PATH"},
		{"online", env("XENBUS_PATH=backend/vif/2"), "XENBUS_PATH"},
		{"online", env("XENBUS_PATH=backend/vif/2/1/"), "XENBUS_PATH"},
		{"online", env("XENBUS_PATH=backend/vif/2/1/../../3/0"), "XENBUS_PATH"},
		{"online", env("XENBUS_PATH=backend/vbd/2/1"), "XENBUS_PATH"},
		{"online", env("XENBUS_PATH=/local/domain/5/backend/vif/2/1"), "XENBUS_PATH"},
		{"online", env("XENBUS_PATH=backend/vif/0/1"), "XENBUS_PATH"},
		{"online", env("XENBUS_PATH=backend/vif/02/1"), "XENBUS_PATH"},
		{"online", env("XENBUS_PATH=backend/vif/-2/1"), "XENBUS_PATH"},
		{"online", env("XENBUS_PATH=backend/vif/32752/1"), "XENBUS_PATH"},
		{"online", env("XENBUS_PATH=backend/vif/2/65536"), "XENBUS_PATH"},
		{"online", env("XENBUS_PATH=backend/vif/2/1\n"), "XENBUS_PATH"},
		{"online", env("XENBUS_PATH=backend/vif/" + long + "/1"), "XENBUS_PATH"},
		{"online", env("vif=vif2.2"), "vif"},
		{"online", env("vif=$(reboot)"), "vif"},
		{"online", env("XENBUS_TYPE=vbd"), "XENBUS_TYPE"},
		{"online", env("netdev=../x"), "netdev"},
		{"add type_if=tap", env("INTERFACE="), "INTERFACE"},
		{"add type_if=tap", env("INTERFACE=vif2.1"), "INTERFACE"},
		{"add type_if=tap", env("INTERFACE=tap2.1-emu"), "INTERFACE"},
		{"add type_if=tap", env("INTERFACE=vif2.1-emu-emu"), "INTERFACE"},
		{"add type_if=tap", env("INTERFACE=web0-emu"), "INTERFACE"},
		{"add type_if=tap", env("INTERFACE=vif2-emu"), "INTERFACE"},
	} {
		_, err := ParseCall(strings.Fields(c.args), c.env)
		e, ok := errors.AsType[*ValueError](err)
		if !ok || e.Key != c.key || e.Hint == "" {
			t.Errorf("%.40s: %v, want something wrong with %s", c.args, err, c.key)
			continue
		}
		checkLine(t, Message(e), 400)
	}
}

func TestTeardownIsKnownAlsoWhereTheCallIsBad(t *testing.T) {
	for args, want := range map[string]bool{
		"offline": true, "remove type_if=tap": true, "online": false, "add type_if=tap": false, "up": false,
	} {
		c, err := ParseCall(strings.Fields(args), func(string) string { return "" })
		if err == nil || c.Teardown() != want {
			t.Errorf("%s: %+v, %v", args, c, err)
		}
	}
}

func TestInterfacesOfGuestsAreKnownByName(t *testing.T) {
	for _, c := range []struct {
		name    string
		id      ID
		tap, ok bool
	}{
		{"vif2.1", ID{2, 1}, false, true},
		{"vif2.1-emu", ID{2, 1}, true, true},
		{"vif32751.65535", ID{32751, 65535}, false, true},
		{"vif0.1", ID{}, false, false},
		{"vif2", ID{}, false, false},
		{"vif2.", ID{}, false, false},
		{"vif2.1.3", ID{}, false, false},
		{"vif 2.1", ID{}, false, false},
		{"vif2.1-emux", ID{}, false, false},
		{"vif2.+1", ID{}, false, false},
		{"vif2.1e1", ID{}, false, false},
		{"vif٢.1", ID{}, false, false},
		{"eth0", ID{}, false, false},
		{"", ID{}, false, false},
	} {
		id, tap, ok := ParseInterface(c.name)
		if id != c.id || tap != c.tap || ok != c.ok {
			t.Errorf("%q: %v %v %v", c.name, id, tap, ok)
		}
		if ok && id.String() != strings.TrimSuffix(c.name, "-emu") {
			t.Errorf("%q is printed as %s", c.name, id)
		}
	}
}
