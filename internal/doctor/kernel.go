package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// The oldest Linux that the switch is written for.
const oldestMajor, oldestMinor = 5, 15

func checkKernel(m *Machine) []Finding {
	release := m.read("proc/sys/kernel/osrelease")
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n < 2 {
		return warn(fmt.Sprintf("can't tell the version of %q", release), "")
	}
	if major < oldestMajor || major == oldestMajor && minor < oldestMinor {
		return fail("Linux "+release+" is too old", fmt.Sprintf("boot Linux %d.%d or later", oldestMajor, oldestMinor))
	}
	return ok("Linux " + release)
}

func checkVeth(m *Machine) []Finding {
	t := m.Host.Try()
	if t.Namespace != nil {
		return untried(t.Namespace)
	}
	return tried(t.Veth, "a host interface can be made", "no network with a host interface", "modprobe veth (CONFIG_VETH)")
}

func checkGuard(m *Machine) []Finding {
	t := m.Host.Try()
	if err := cmpErr(t.Namespace, t.Veth); err != nil {
		return untried(err)
	}
	return tried(t.Guard, "clsact and cls_bpf keep guests' frames from the host's stack", "no guest's port can be guarded",
		"modprobe -a sch_ingress cls_bpf (CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_BPF, CONFIG_BPF_SYSCALL)")
}

func checkUplinkGuard(m *Machine) []Finding {
	t := m.Host.Try()
	if err := cmpErr(t.Namespace, t.Veth); err != nil {
		return untried(err)
	}
	return tried(t.Uplink, "the host's stack can be kept from what is for guests of routed and nat networks",
		"the host's stack answers for guests of routed and nat networks", "see guard, if that fails too; else report this with the kernel's version")
}

func checkRing(m *Machine) []Finding {
	t := m.Host.Try()
	if err := cmpErr(t.Namespace, t.Veth); err != nil {
		return untried(err)
	}
	return tried(t.Ring, "AF_PACKET, TPACKET_V2 with virtio-net headers", "no port can be opened", "modprobe af_packet (CONFIG_PACKET)")
}

// Neither tcx nor BTF is needed, by either engine.
func checkTCX(m *Machine) []Finding {
	t := m.Host.Try()
	switch err := cmpErr(t.Namespace, t.Veth); {
	case err != nil:
		return untried(err)
	case errors.Is(t.TCX, fs.ErrPermission):
		return untried(t.TCX)
	case t.TCX != nil:
		return ok("not in this kernel (Linux 6.6); clsact does as well")
	}
	return ok("is there")
}

func checkBTF(m *Machine) []Finding {
	if !m.exists("sys/kernel/btf/vmlinux") {
		return ok("no /sys/kernel/btf/vmlinux; neither engine needs it")
	}
	return ok("is there")
}

// Where nothing can be pinned the eBPF engine does its work all the same.
func checkBPFFS(m *Machine) []Finding {
	for line := range strings.Lines(m.read("proc/mounts")) {
		if f := strings.Fields(line); len(f) > 2 && f[1] == "/sys/fs/bpf" && f[2] == "bpf" {
			return ok("/sys/fs/bpf is mounted: with the eBPF engine guests talk on without the daemon")
		}
	}
	return ok("/sys/fs/bpf is not mounted: a daemon that may mounts it; else traffic ends with the daemon, with either engine")
}

// tried is what came of a trial.
func tried(err error, works, means, mend string) []Finding {
	switch {
	case err == nil:
		return ok(works)
	case errors.Is(err, fs.ErrPermission):
		return untried(err)
	}
	return fail(fmt.Sprintf("%s: %v", means, err), mend)
}

func untried(err error) []Finding {
	if errors.Is(err, fs.ErrPermission) {
		return warn("can't be tried by this user", "run gxswitch doctor as root")
	}
	return warn(fmt.Sprintf("can't be tried: %v", err), "")
}

// cmpErr is the first of the errors.
func cmpErr(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}
