// Package doctor looks at a machine for what may keep the switch from doing its
// job, and says for each thing what it means and how to mend it.
//
// It changes nothing. A check is a function of a Machine: files below a root,
// interfaces, the configuration and what the daemon said were all fetched before,
// or come from an interface that a test can stand in for. The checks run one
// after the other, know nothing of each other, and none of them fails: what can't
// be found out is a finding too.
package doctor

import (
	"io/fs"
	"strings"

	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/host"
)

// Severity says how bad a finding is.
type Severity string

// The severities.
const (
	OK   Severity = "ok"
	Warn Severity = "warn" // something will not work as one might expect
	Fail Severity = "fail" // the switch, or a network, can't work
)

// Finding is what a check found, once for each object that it looked at.
type Finding struct {
	Name   string   `json:"name"` // of the check
	Status Severity `json:"status"`
	What   string   `json:"what"`
	Mend   string   `json:"mend"` // "" where there is nothing to do
}

// Machine is what the checks look at.
type Machine struct {
	Root fs.FS // files, by their paths without the first slash
	Host Host

	Config      config.Config // what ConfigError leaves of it
	ConfigFile  string
	ConfigError error

	Version     string // of this program
	Daemon      control.Status
	DaemonError error
}

// Host is what no file tells.
type Host interface {
	Links() ([]host.Link, error)
	Offloads(name string) (host.Offloads, error)
	Takeover(network string, nic host.Link) (warnings []string, err error)
	Try() Trial
}

// Trial is what came of using the kernel, in a namespace of its own.
type Trial struct {
	Namespace error // there was none to try in; the others mean nothing
	Veth      error // without it there was no interface to try on
	Guard     error // clsact and cls_bpf
	Uplink    error // the guard of a routed or nat network's uplink
	Ring      error // AF_PACKET: TPACKET_V2, virtio-net headers
	TCX       error
}

// check is one row of the list, or several.
type check struct {
	name string
	look func(*Machine) []Finding
}

// Examine runs every check, in the order in which things build on each other.
func Examine(m *Machine) []Finding {
	var all []Finding
	for _, c := range []check{
		{"config", checkConfig},
		{"daemon", checkDaemon},
		{"group", checkGroup},
		{"kernel", checkKernel},
		{"veth", checkVeth},
		{"guard", checkGuard},
		{"uplink_guard", checkUplinkGuard},
		{"ring", checkRing},
		{"tcx", checkTCX},
		{"btf", checkBTF},
		{"bpffs", checkBPFFS},
		{"uplink", checkUplinks},
		{"bridge", checkBridges},
		{"offload", checkOffloads},
		{"owner", checkOwners},
		{"takeover", checkTakeover},
		{"br_netfilter", checkBridgeNetfilter},
		{"rp_filter", checkReversePath},
		{"arp_ignore", checkARPIgnore},
		{"resolver", checkResolver},
		{"dhcp", checkDHCP},
		{"xl.conf", checkToolstack},
	} {
		for _, f := range c.look(m) {
			f.Name = c.name
			all = append(all, f)
		}
	}
	return all
}

// Failed counts the findings that are failures.
func Failed(all []Finding) int {
	n := 0
	for _, f := range all {
		if f.Status == Fail {
			n++
		}
	}
	return n
}

func ok(what string) []Finding { return []Finding{{Status: OK, What: what}} }

func warn(what, mend string) []Finding { return []Finding{{Status: Warn, What: what, Mend: mend}} }

func fail(what, mend string) []Finding { return []Finding{{Status: Fail, What: what, Mend: mend}} }

// read is a file's text without the space around it, "" where there is none.
func (m *Machine) read(name string) string {
	text, err := fs.ReadFile(m.Root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func (m *Machine) exists(name string) bool {
	_, err := fs.Stat(m.Root, name)
	return err == nil
}
