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
	switch {
	case opt.Engine == engineAFPacket:
		return nil, "", flushEngine(opt.RunDir, opt.Log)
	case opt.Engine == engineAuto, opt.Engine == "", opt.Engine == engineEBPF:
	default:
		return nil, "", control.Errorf(control.CodeUsage, "engine %q: want auto, afpacket or ebpf", opt.Engine)
	}
	k, err = fastpath.Open(fastpath.Options{RunDir: opt.RunDir, Punts: workers, Log: opt.Log})
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

// Flush removes the programs that a daemon of the run directory left in the
// kernel, so that nothing is forwarded any more. It refuses while one is running.
func Flush(opt Options) error {
	server, err := control.Listen(control.ServerOptions{Socket: opt.socket(), Log: opt.Log})
	if err != nil {
		return err
	}
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
// kernel can't have it, the other does.
func (m *manager) openPort(l host.Link, role dataplane.Role) (ports.Port, error) {
	promiscuous := role == dataplane.Uplink || l.Kind == ""
	if m.kernel != nil {
		p, err := m.kernel.Attach(l.Index, fastpath.PortOptions{Uplink: role == dataplane.Uplink, Promiscuous: promiscuous})
		if err == nil {
			return p, nil
		}
		m.log.Warn("the port has the afpacket engine", "port", l.Name, "err", err)
	}
	return ports.OpenPacket(l.Index, ports.PacketOptions{Promiscuous: promiscuous})
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
	m.sw.Adopt()
	if err := m.kernel.Sweep(); err != nil {
		m.log.Error("remove what an earlier daemon left in the kernel", "err", err)
	}
}
