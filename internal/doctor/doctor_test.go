package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/host"
)

// fakeHost is a machine's interfaces, in a table.
type fakeHost struct {
	links    []host.Link
	linksErr error
	offloads map[string]host.Offloads
	trial    Trial
	warnings []string // of a takeover
	refusal  error
}

func (h *fakeHost) Links() ([]host.Link, error) {
	return append([]host.Link(nil), h.links...), h.linksErr
}

func (h *fakeHost) Offloads(name string) (host.Offloads, error) {
	o, ok := h.offloads[name]
	if !ok {
		return o, errors.New("offloads of " + name + ": no such interface")
	}
	return o, nil
}

func (h *fakeHost) Takeover(string, host.Link) ([]string, error) { return h.warnings, h.refusal }

func (h *fakeHost) Try() Trial { return h.trial }

// files is a root, as "path text".
func files(all ...string) fstest.MapFS {
	root := fstest.MapFS{}
	for _, f := range all {
		name, text, _ := strings.Cut(f, " ")
		mode := fs.FileMode(0o644)
		if text == "+x" {
			mode = 0o755
		}
		root[name] = &fstest.MapFile{Data: []byte(text), Mode: mode}
	}
	return root
}

func parse(t *testing.T, text string) config.Config {
	t.Helper()
	c, err := config.Parse("t.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// case is one machine, one check, and what is to come of it: "status what",
// where what and mend are part of the text.
type examined struct {
	about string
	check string
	with  func(*Machine, *fakeHost)
	want  []string // a line a finding: "status part of what | part of mend"
}

const (
	bridged   = "[network.lan]\nmode = \"bridged\"\nuplink = \"eth1\"\n[[port]]\nname = \"tap*\"\nnetwork = \"lan\"\n"
	serving   = hostOnly + "dns = { domain = \"xen\" }\n"
	leasing   = hostOnly + "dhcp = { range = \"192.168.60.100-192.168.60.199\" }\n"
	taking    = bridged + "[network.lan2]\nmode = \"bridged\"\nuplink = \"eth0\"\ntakeover = true\n"
	borrowing = "[network.dmz]\nmode = \"routed\"\nuplink = \"eth0\"\n"
	hostOnly  = "[network.lab]\nmode = \"host-only\"\naddress = \"192.168.60.1/24\"\n"
)

func TestChecks(t *testing.T) {
	all := host.Offloads{Checksum: true, ScatterGather: true, TSO: true}
	eth1 := host.Link{Name: "eth1", Index: 2, MTU: 1500, AdminUp: true, Running: true}
	conf := func(text string) func(*Machine, *fakeHost) {
		return func(m *Machine, _ *fakeHost) { m.Config = parse(t, text) }
	}
	on := func(text string, links ...host.Link) func(*Machine, *fakeHost) {
		return func(m *Machine, h *fakeHost) { m.Config, h.links = parse(t, text), links }
	}
	root := func(all ...string) func(*Machine, *fakeHost) {
		return func(m *Machine, _ *fakeHost) { m.Root = files(all...) }
	}
	trial := func(trial Trial) func(*Machine, *fakeHost) {
		return func(_ *Machine, h *fakeHost) { h.trial = trial }
	}
	offload := func(o host.Offloads) func(*Machine, *fakeHost) {
		return func(m *Machine, h *fakeHost) {
			m.Config, h.links, h.offloads = parse(t, bridged), []host.Link{eth1}, map[string]host.Offloads{"eth1": o}
		}
	}
	// Both managers' files for interface 2, over a configuration.
	owned := func(text, name, file string) func(*Machine, *fakeHost) {
		return func(m *Machine, h *fakeHost) {
			m.Config, h.links, m.Root = parse(t, text), []host.Link{{Name: name, Index: 2}}, files(file)
		}
	}
	listening := func(text string, files ...string) func(*Machine, *fakeHost) {
		return func(m *Machine, _ *fakeHost) {
			root(files...)(m, nil)
			m.Config = parse(t, text)
		}
	}
	takeover := func(warnings []string, err error) func(*Machine, *fakeHost) {
		return func(m *Machine, h *fakeHost) {
			on(taking, host.Link{Name: "eth0", Index: 4})(m, h)
			h.warnings, h.refusal = warnings, err
		}
	}
	stopped := func(with func(*Machine, *fakeHost)) func(*Machine, *fakeHost) {
		return func(m *Machine, h *fakeHost) {
			with(m, h)
			m.DaemonError = control.ErrNoDaemon
		}
	}
	header := "  sl  local_address rem_address   st\n"
	eperm := fmt.Errorf("unshare: %w", syscall.EPERM)

	for _, c := range []examined{
		{"a configuration", "config", conf(bridged), []string{"ok /etc/gxswitch/gxswitch.toml, networks: 1|"}},
		{"none", "config", func(m *Machine, _ *fakeHost) { m.ConfigError = fs.ErrNotExist }, []string{"warn is not there|write it"}},
		{"an empty one", "config", conf(""), []string{"warn has no networks|take the #"}},
		{"a wrong one", "config", func(m *Machine, _ *fakeHost) { m.ConfigError = wrong("[network.x]\nmode = \"isolatd\"\nmtuu = 1\n") },
			[]string{"fail t.toml:2: network.x.mode|isolated", "fail t.toml:3: network.x.mtuu|mtu?"}},
		{"one that can't be read", "config", func(m *Machine, _ *fakeHost) { m.ConfigError = syscall.EACCES }, []string{"fail permission denied|"}},

		{"a daemon", "daemon", func(*Machine, *fakeHost) {}, []string{"ok version 1.0, process 7, engine afpacket|"}},
		{"none", "daemon", func(m *Machine, _ *fakeHost) { m.DaemonError = control.ErrNoDaemon }, []string{"warn |systemctl start gxswitch"}},
		{"a shut door", "daemon", func(m *Machine, _ *fakeHost) {
			m.DaemonError = control.Errorf(control.CodeDenied, "no").WithHint("join the group")
		},
			[]string{"fail no|join the group"}},
		{"an older one", "daemon", func(m *Machine, _ *fakeHost) { m.Daemon.Version = "0.9" }, []string{"warn is version 0.9, this program 1.0|restart"}},

		{"without an engine", "daemon", func(m *Machine, _ *fakeHost) { m.Daemon.EngineReason = "no memory" }, []string{"ok version|", "warn the engine is afpacket: no memory|engines.md"}},
		{"a full kernel", "daemon", func(m *Machine, _ *fakeHost) { m.Daemon.EngineFull = 7 }, []string{"ok version|", "warn 7 times|mac_limit"}},
		{"a problem", "daemon", func(m *Machine, _ *fakeHost) { m.Daemon.Problems = []string{"port p1 has the engine afpacket"} }, []string{"ok version|", "warn port p1 has|"}},

		{"a group", "group", root("etc/group root:x:0:\ngxswitch:x:105:ann,bob\n"), []string{"ok gxswitch: ann,bob|"}},
		{"without members", "group", root("etc/group gxswitch:x:105:\n"), []string{"ok without members|"}},
		{"none", "group", root("etc/group gxswitches:x:105:ann\n"), []string{"warn no group gxswitch|groupadd --system gxswitch"}},
		{"another", "group", func(m *Machine, _ *fakeHost) { m.Config.Daemon.Group = "adm" }, []string{"warn no group adm|groupadd --system adm"}},

		{"a kernel", "kernel", root("proc/sys/kernel/osrelease 6.1.0-9-amd64\n"), []string{"ok Linux 6.1.0-9-amd64|"}},
		{"the oldest", "kernel", root("proc/sys/kernel/osrelease 5.15.0"), []string{"ok Linux 5.15.0|"}},
		{"too old", "kernel", root("proc/sys/kernel/osrelease 5.14.21-default"), []string{"fail too old|5.15"}},
		{"a number less", "kernel", root("proc/sys/kernel/osrelease 4.19.0"), []string{"fail too old|5.15"}},
		{"no release", "kernel", root(), []string{"warn can't tell|"}},

		{"veth", "veth", trial(Trial{}), []string{"ok host interface|"}},
		{"no veth", "veth", trial(Trial{Veth: syscall.EOPNOTSUPP}), []string{"fail no network with a host interface: operation not supported|modprobe veth"}},
		{"no root", "veth", trial(Trial{Namespace: eperm}), []string{"warn can't be tried|as root"}},
		{"guard", "guard", trial(Trial{}), []string{"ok clsact|"}},
		{"no guard", "guard", trial(Trial{Guard: syscall.ENOENT}), []string{"fail no guest's port|cls_bpf"}},
		{"no bpf for this user", "guard", trial(Trial{Guard: eperm}), []string{"warn can't be tried|as root"}},
		{"uplink guard", "uplink_guard", trial(Trial{}), []string{"ok routed and nat|"}},
		{"no uplink guard", "uplink_guard", trial(Trial{Uplink: syscall.EINVAL}), []string{"fail answers for guests of routed and nat networks: invalid argument|see guard"}},
		{"no root for the uplink guard", "uplink_guard", trial(Trial{Uplink: eperm}), []string{"warn can't be tried|as root"}},
		{"no veth for the uplink guard", "uplink_guard", trial(Trial{Veth: syscall.EOPNOTSUPP}), []string{"warn can't be tried: operation not supported|"}},
		{"no veth to guard", "guard", trial(Trial{Veth: syscall.EOPNOTSUPP}), []string{"warn can't be tried: operation not supported|"}},
		{"ring", "ring", trial(Trial{}), []string{"ok TPACKET_V2|"}},
		{"no ring", "ring", trial(Trial{Ring: syscall.EAFNOSUPPORT}), []string{"fail no port can be opened|af_packet"}},
		{"tcx", "tcx", trial(Trial{}), []string{"ok is there|"}},
		{"no tcx", "tcx", trial(Trial{TCX: syscall.EINVAL}), []string{"ok clsact does as well|"}},
		{"no root for tcx", "tcx", trial(Trial{Namespace: eperm}), []string{"warn can't be tried|as root"}},
		{"BTF", "btf", root("sys/kernel/btf/vmlinux x"), []string{"ok is there|"}},
		{"no BTF", "btf", root(), []string{"ok neither engine needs it|"}},
		{"a bpf filesystem", "bpffs", root("proc/mounts sysfs /sys sysfs rw 0 0\nbpf /sys/fs/bpf bpf rw,mode=700 0 0\n"), []string{"ok is mounted|"}},
		{"none", "bpffs", root("proc/mounts sysfs /sys sysfs rw 0 0\n"), []string{"ok is not mounted|"}},

		{"no uplink", "uplink", conf(hostOnly), []string{"ok no network has one|"}},
		{"an uplink", "uplink", on(bridged, eth1), []string{"ok eth1, mtu 1500|"}},
		{"absent", "uplink", on(bridged), []string{"warn eth1 is not there|ip link"}},
		{"down", "uplink", on(bridged, host.Link{Name: "eth1", Index: 2}), []string{"warn no carrier|cable"}},
		{"the loopback", "uplink", on(strings.ReplaceAll(bridged, "eth1", "lo"), host.Link{Name: "lo", Index: 1, Loopback: true, Running: true}), []string{"fail loopback|NIC"}},
		{"no links", "uplink", func(_ *Machine, h *fakeHost) { h.linksErr = syscall.EPERM }, []string{"fail not permitted|"}},

		{"no bridge", "bridge", on(bridged, eth1), []string{"ok none has|"}},
		{"a bridge with the NIC", "bridge", on(bridged, host.Link{Name: "eth1", Index: 2, Master: 3}, host.Link{Name: "br0", Index: 3, Kind: "bridge"}),
			[]string{"fail eth1 is enslaved to bridge br0|ip link set eth1 nomaster"}},
		{"a bond with the NIC", "bridge", on(bridged, host.Link{Name: "eth1", Index: 2, Master: 3}, host.Link{Name: "bond0", Index: 3, Kind: "bond"}),
			[]string{"fail enslaved to bond bond0|nomaster"}},
		{"a bridge with a guest", "bridge", on(bridged, host.Link{Name: "vif1.0", Index: 2, Master: 3}, host.Link{Name: "xenbr0", Index: 3, Kind: "bridge"}),
			[]string{"warn vif1.0 is enslaved to bridge xenbr0|script=vif-gxswitch"}},
		{"a bridge with a port of ours", "bridge", on(bridged, host.Link{Name: "tap7", Index: 2, Master: 9}), []string{"warn tap7 is enslaved to interface of another|nomaster"}},
		{"a bridge with somebody else's", "bridge", on(bridged, host.Link{Name: "veth9", Index: 2, Master: 3}, host.Link{Name: "docker0", Index: 3, Kind: "bridge"}), []string{"ok none has|"}},
		{"a bridge of a network's name", "bridge", on(bridged, host.Link{Name: "lan", Index: 3, Kind: "bridge"}), []string{"warn vif-bridge would|ip link del lan"}},
		{"in a host interface's way", "bridge", on(hostOnly, host.Link{Name: "lab", Index: 3, Kind: "bridge"}), []string{"fail host interface needs it|ip link del lab"}},
		{"our own host interface", "bridge", on(hostOnly, host.Link{Name: "lab", Index: 3, Kind: "veth"}), []string{"ok none has|"}},

		{"offloads", "offload", offload(all), []string{"ok eth1: checksums|"}},
		{"lro", "offload", offload(host.Offloads{Checksum: true, ScatterGather: true, TSO: true, LRO: true}), []string{"warn merges what it receives|ethtool -K eth1 lro off"}},
		{"no tso", "offload", offload(host.Offloads{Checksum: true, ScatterGather: true}), []string{"warn does not do tso|ethtool -K eth1 tso on"}},
		{"nothing on", "offload", offload(host.Offloads{}), []string{"warn does not do tx, sg, tso|ethtool -K eth1 tx on sg on tso on"}},
		{"no answer", "offload", on(bridged, eth1), []string{"warn offloads of eth1|"}},
		{"no uplink", "offload", on(hostOnly), []string{"ok no uplink|"}},

		{"no takeover", "takeover", on(bridged, eth1), []string{"ok no network|"}},
		{"a takeover", "takeover", on(taking, host.Link{Name: "eth0", Index: 4}), []string{"ok addresses of eth0|"}},
		{"of a NIC that is not there", "takeover", on(taking, eth1), []string{"ok no network|"}},
		{"with a warning", "takeover", takeover([]string{"DHCP client x runs on eth0; run it on lan2"}, nil), []string{"warn DHCP client x runs on eth0|run it on lan2"}},
		{"refused", "takeover", takeover([]string{"w"}, errors.New("eth0.5 stands on eth0; make it on lan2")), []string{"fail eth0.5 stands on eth0|make it on lan2", "warn w|"}},
		{"a manager of a NIC that is taken over", "owner", owned(taking, "eth0", "run/NetworkManager/devices/2 [device]\nmanaged=true\n"), []string{"ok neither|"}},
		{"a manager of a takeover's interface", "owner", owned(taking, "lan2", "run/NetworkManager/devices/2 [device]\nmanaged=true\n"), []string{"warn manages lan2|interface-name:lan2"}},
		{"a bridge in a takeover's way", "bridge", on(taking, host.Link{Name: "lan2", Index: 3, Kind: "bridge"}), []string{"fail host interface needs it|ip link del lan2"}},

		{"nobody's", "owner", on(bridged, eth1), []string{"ok neither|"}},
		{"NetworkManager's NIC", "owner", owned(bridged, "eth1", "run/NetworkManager/devices/2 [device]\nmanaged=true\n"), []string{"ok NetworkManager has eth1|"}},
		{"NetworkManager's vif", "owner", owned(bridged, "vif1.0", "run/NetworkManager/devices/2 [device]\nmanaged=true\n"), []string{"warn NetworkManager manages vif1.0|interface-name:vif*"}},
		{"not managed", "owner", owned(bridged, "vif1.0", "run/NetworkManager/devices/2 [device]\nmanaged=false\n"), []string{"ok neither|"}},
		{"networkd's host interface", "owner", owned(hostOnly, "lab", "run/systemd/netif/links/2 # x\nADMIN_STATE=configuring\n"), []string{"warn systemd-networkd manages lab|Name=lab"}},
		{"networkd's inner end", "owner", owned(hostOnly, "gxh-01234567", "run/systemd/netif/links/2 ADMIN_STATE=configured\n"), []string{"warn manages gxh-01234567|Name=gxh-*"}},
		{"networkd's port", "owner", owned(bridged, "tap3", "run/systemd/netif/links/2 ADMIN_STATE=configured\n"), []string{"warn manages tap3|Name=tap3"}},
		{"networkd's not", "owner", owned(bridged, "tap3", "run/systemd/netif/links/2 ADMIN_STATE=unmanaged\n"), []string{"ok neither|"}},
		{"of no concern", "owner", owned(bridged, "wlan0", "run/systemd/netif/links/2 ADMIN_STATE=configured\n"), []string{"ok neither|"}},

		{"br_netfilter", "br_netfilter", root("proc/sys/net/bridge/bridge-nf-call-iptables 1"), []string{"ok harmless|"}},
		{"none", "br_netfilter", root(), []string{"ok is off|"}},

		{"strict", "rp_filter", root("proc/sys/net/ipv4/conf/all/rp_filter 1"), []string{"ok is strict, and harmless|"}},
		{"strict by default", "rp_filter", root("proc/sys/net/ipv4/conf/default/rp_filter 1"), []string{"ok is strict, and harmless|"}},
		{"loose", "rp_filter", root("proc/sys/net/ipv4/conf/all/rp_filter 2"), []string{"ok is not strict|"}},

		{"deaf", "arp_ignore", listening(borrowing, "proc/sys/net/ipv4/conf/all/arp_ignore 2"), []string{"fail is 2: the host answers no guest of network dmz|arp_ignore=1"}},
		{"not deaf", "arp_ignore", listening(borrowing, "proc/sys/net/ipv4/conf/all/arp_ignore 1"), []string{"ok nobody's way|"}},
		{"deaf where nobody borrows", "arp_ignore", listening(bridged, "proc/sys/net/ipv4/conf/all/arp_ignore 8"), []string{"ok nobody's way|"}},

		{"nobody serves", "resolver", listening(serving, "proc/net/udp "+header), []string{"ok nobody|"}},
		{"somebody on every address", "resolver", listening(serving, "proc/net/udp "+header+" 1: 00000000:0035 00000000:0000 07\n"), []string{"warn port 53 is taken on 0.0.0.0|except-interface=lab"}},
		{"somebody on :: by TCP", "resolver", listening(serving, "proc/net/tcp6 "+header+" 1: 00000000000000000000000000000000:0035 0:0 0A\n"), []string{"warn taken on ::|bind-dynamic"}},
		{"the stub of the host", "resolver", listening(serving, "proc/net/udp "+header+" 1: 3500007F:0035 00000000:0000 07\n"), []string{"ok nobody|"}},
		{"the daemon's own", "resolver", listening(serving, "proc/net/udp "+header+" 1: 013CA8C0:0035 00000000:0000 07\n"), []string{"ok nobody|"}},
		{"the gateway's, without a daemon", "resolver", func(m *Machine, h *fakeHost) {
			listening(serving, "proc/net/udp "+header+" 1: 013CA8C0:0035 00000000:0000 07\n")(m, h)
			m.DaemonError = control.ErrNoDaemon
		}, []string{"warn taken on 192.168.60.1|except-interface=lab"}},
		{"a network without dns", "resolver", listening(hostOnly, "proc/net/udp "+header+" 1: 00000000:0035 00000000:0000 07\n"), []string{"ok nobody|"}},
		{"another port", "resolver", listening(serving, "proc/net/udp "+header+" 1: 00000000:0043 00000000:0000 07\n"), []string{"ok nobody|"}},
		{"a connection", "resolver", listening(serving, "proc/net/tcp "+header+" 1: 00000000:0035 00000000:0000 01\n"), []string{"ok nobody|"}},

		{"no DHCP", "dhcp", listening(hostOnly, "proc/net/udp "+header+" 1: 00000000:0043 00000000:0000 07\n"), []string{"ok no network|"}},
		{"DHCP, and a daemon", "dhcp", listening(leasing, "proc/net/udp "+header+" 1: 00000000:0043 00000000:0000 07\n"), []string{"ok network show|"}},
		{"DHCP, and another server", "dhcp", stopped(listening(leasing, "proc/net/udp "+header+" 1: 00000000:0043 00000000:0000 07\n")), []string{"warn port 67 is taken on 0.0.0.0|bind-dynamic"}},
		{"DHCP alone", "dhcp", stopped(listening(leasing, "proc/net/udp "+header+" 1: 00000000:0035 00000000:0000 07\n")), []string{"ok nobody|"}},

		{"no Xen", "xl.conf", root("etc/xen/scripts/vif-gxswitch +x"), []string{"ok not a Xen host|"}},
		{"the script", "xl.conf", root("etc/xen/scripts/vif-gxswitch +x", "etc/xen/xl.conf # x\nvif.default.script = \"vif-gxswitch\" # y\n"), []string{"ok is vif-gxswitch|"}},
		{"a network xenbr0", "xl.conf", listening("[network.xenbr0]\nmode = \"isolated\"\n", "etc/xen/scripts/vif-gxswitch +x", "etc/xen/xl.conf vif.default.script=vif-gxswitch"), []string{"ok is vif-gxswitch|", "ok goes to network xenbr0|"}},
		{"another by default", "xl.conf", listening(hostOnly, "etc/xen/scripts/vif-gxswitch +x", "etc/xen/xl.conf vif.default.script=vif-gxswitch\nvif.default.bridge=\"lab\"\n"), []string{"ok is vif-gxswitch|", "ok goes to network lab|"}},
		{"no xenbr0", "xl.conf", listening(hostOnly, "etc/xen/scripts/vif-gxswitch +x", "etc/xen/xl.conf vif.default.script=vif-gxswitch"), []string{"ok is vif-gxswitch|", "warn asks for network xenbr0, which is not there|vif.default.bridge=\"lab\""}},
		{"by its path", "xl.conf", root("etc/xen/scripts/vif-gxswitch +x", "etc/xen/xl.conf vif.default.script='/etc/xen/scripts/vif-gxswitch'"), []string{"ok is /etc|"}},
		{"another", "xl.conf", root("etc/xen/scripts/vif-gxswitch +x", "etc/xen/xl.conf vif.default.script=\"vif-route\"\n"), []string{"warn is vif-route|vif.default.script=\"vif-gxswitch\""}},
		{"a comment", "xl.conf", root("etc/xen/scripts/vif-gxswitch +x", "etc/xen/xl.conf #vif.default.script=\"vif-gxswitch\"\n"), []string{"warn is vif-bridge, as nobody|script=vif-gxswitch"}},
		{"no script", "xl.conf", root("run/xenstored/socket x"), []string{"fail is not there|install"}},
		{"not executable", "xl.conf", root("etc/xen/scripts/vif-gxswitch x", "etc/xen/xl.conf x"), []string{"fail not executable|chmod 755"}},
	} {
		t.Run(c.check+" "+c.about, func(t *testing.T) {
			h := &fakeHost{}
			m := &Machine{
				Root: files(), Host: h, ConfigFile: "/etc/gxswitch/gxswitch.toml",
				Version: "1.0", Daemon: control.Status{Version: "1.0", PID: 7, Engine: "afpacket"},
			}
			c.with(m, h)
			var got []Finding
			for _, f := range Examine(m) {
				if f.Name == c.check {
					got = append(got, f)
				}
			}
			if len(got) != len(c.want) {
				t.Fatalf("%d findings, want %d: %+v", len(got), len(c.want), got)
			}
			for i, want := range c.want {
				status, rest, _ := strings.Cut(want, " ")
				what, mend, _ := strings.Cut(rest, "|")
				f := got[i]
				if string(f.Status) != status || !strings.Contains(f.What, what) || !strings.Contains(f.Mend, mend) || mend == "" && f.Mend != "" {
					t.Errorf("got  %s %s | %s\nwant %s", f.Status, f.What, f.Mend, want)
				}
			}
		})
	}
}

// wrong is what the configuration says of a text.
func wrong(text string) error {
	_, err := config.Parse("t.toml", []byte(text))
	return err
}

// Every finding of every check can be told apart and read.
func TestEveryCheckSaysSomething(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Examine(&Machine{Root: files(), Host: &fakeHost{}}) {
		seen[f.Name] = true
		if f.What == "" || f.Status != OK && f.Status != Warn && f.Status != Fail {
			t.Errorf("%+v", f)
		}
	}
	if len(seen) != 22 {
		t.Errorf("%d checks spoke: %v", len(seen), seen)
	}
}

func TestFailed(t *testing.T) {
	if n := Failed([]Finding{{Status: Fail}, {Status: Warn}, {Status: Fail}, {Status: OK}}); n != 2 {
		t.Errorf("%d failures, want 2", n)
	}
}
