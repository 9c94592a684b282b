package daemon

import (
	"errors"
	"fmt"
	"log/slog"

	"gxswitch/dataplane"
	"gxswitch/internal/control"
	"gxswitch/internal/fastpath"
	"gxswitch/internal/host"
	"gxswitch/ports"
)

// The engines, as users call them.
const (
	engineAuto     = "auto"
	engineAFPacket = "afpacket"
	engineEBPF     = "ebpf"
)

// openEngine opens the engine in the kernel, if it is wanted and can be had.
// reason says why it can't, where afpacket does instead. What a predecessor left
// in the kernel is adopted, or else removed: it would go on forwarding beside us.
func openEngine(opt Options, workers int) (k *fastpath.Engine, reason string, err error) {
	tidyEngines(opt)
	switch {
	case opt.Engine == engineAFPacket:
		return nil, "", flushEngine(opt.RunDir, opt.Log)
	case opt.Engine == engineAuto, opt.Engine == "", opt.Engine == engineEBPF:
	default:
		return nil, "", control.Errorf(control.CodeUsage, "engine %q: want auto, afpacket or ebpf", opt.Engine)
	}
	return tryEngine(opt, func() (*fastpath.Engine, error) {
		return fastpath.Open(fastpath.Options{RunDir: opt.RunDir, Punts: workers, Log: opt.Log})
	})
}

// tryEngine opens the engine, or says why there is none.
func tryEngine(opt Options, open func() (*fastpath.Engine, error)) (k *fastpath.Engine, reason string, err error) {
	k, err = open()
	if err == nil {
		return k, "", nil
	}
	if opt.Engine == engineEBPF {
		return nil, "", control.Errorf(control.CodeRefused, "engine ebpf: %v", err).WithHint("--engine afpacket, or auto")
	}
	opt.Log.Warn("the eBPF engine can't be had, afpacket moves the frames", "err", err)
	return nil, err.Error(), flushEngine(opt.RunDir, opt.Log)
}

func flushEngine(runDir string, log *slog.Logger) error {
	found, err := fastpath.Flush(runDir)
	if err != nil {
		return fmt.Errorf("remove what an earlier daemon left in the kernel: %w", err)
	}
	if found {
		log.Info("removed what an earlier daemon left in the kernel")
	}
	return nil
}

// tidyEngines removes what daemons left in network namespaces that are no more.
func tidyEngines(opt Options) {
	removed, err := fastpath.Tidy(opt.RunDir)
	if err != nil {
		opt.Log.Error("remove what a daemon left in a network namespace that is no more", "err", err)
	}
	for _, dir := range removed {
		opt.Log.Info("removed what a daemon left in a network namespace that is no more", "pins", dir)
	}
}

// Flush removes the programs that a daemon of the run directory left in the
// kernel, so that nothing is forwarded any more. It refuses while one is running.
func Flush(opt Options) error {
	server, err := control.Listen(control.ServerOptions{Socket: opt.socket(), Log: opt.Log})
	if err != nil {
		return err
	}
	tidyEngines(opt)
	return errors.Join(flushEngine(opt.RunDir, opt.Log), server.Close())
}

// engineName is what moves the frames of ports, where nothing keeps it from it.
func (m *manager) engineName() string {
	if m.kernel != nil {
		return engineEBPF
	}
	return engineAFPacket
}

// openPort opens an interface with the engine there is. Where the one in the
// kernel can't have it, the other does, and reason says why.
func (m *manager) openPort(l host.Link, role dataplane.Role) (_ ports.Port, reason string, err error) {
	promiscuous := role == dataplane.Uplink || l.Kind == ""
	if m.kernel != nil {
		p, err := m.openFast(l, fastpath.PortOptions{Uplink: role == dataplane.Uplink, Promiscuous: promiscuous})
		if err == nil {
			return p, "", nil
		}
		reason = err.Error()
		m.log.Warn("the port has the afpacket engine", "port", l.Name, "err", err)
	}
	p, err := ports.OpenPacket(l.Index, ports.PacketOptions{Promiscuous: promiscuous})
	if err != nil {
		return nil, "", err
	}
	return p, reason, nil
}

// openFast gives the interface to the engine in the kernel. A filter of somebody
// else's at its ingress, which sees all frames with the other engine, would see no
// more of those that are decided. (A tcx program that is there sees them first, an
// XDP program too.)
func (m *manager) openFast(l host.Link, opt fastpath.PortOptions) (*fastpath.Port, error) {
	f, foreign, err := host.ForeignFilter(l.Index)
	if err != nil {
		return nil, err
	}
	if foreign {
		return nil, fmt.Errorf("%s has another program's tc filter at its ingress (%s), which would miss what the kernel forwards; "+
			"without it (tc filter del dev %s ingress pref %d) the daemon's next start takes ebpf", l.Name, f, l.Name, f.Priority)
	}
	p, err := m.kernel.Attach(l.Index, opt)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.Name, err)
	}
	return p, nil
}

// engine is what moves the port's frames.
func (p *port) engine() string {
	if p.fast != nil {
		return engineEBPF
	}
	return engineAFPacket
}

// look tells the engine in the kernel that the port's link has changed.
func (m *manager) look(p *port) {
	if p.fast == nil {
		return
	}
	if err := p.fast.Look(); err != nil {
		m.log.Error("update", "port", p.name(), "err", err)
	}
}

// adopted ends what an earlier daemon left in the kernel and nobody wants now,
// and takes over the addresses.
func (m *manager) adopted() {
	if m.kernel == nil {
		return
	}
	if m.kernel.Adopted() {
		m.log.Info("adopted what an earlier daemon left in the kernel")
	}
	m.inherited = nil // from here on flows are this daemon's
	m.sw.Adopt()
	if err := m.kernel.Sweep(); err != nil {
		m.log.Error("remove what an earlier daemon left in the kernel", "err", err)
	}
}
