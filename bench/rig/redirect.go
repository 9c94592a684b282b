package rig

import (
	"context"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	tcx "github.com/cilium/ebpf/link"

	"gxswitch/internal/host"
)

// Redirect is no switch either: a tc program of four instructions at each port of a
// lane hands every frame to the lane's other guest and looks at nothing. It is what a
// switch that consists of a tc program would be if deciding took no time.
type Redirect struct{}

// Name implements Arm.
func (Redirect) Name() string { return "redirect" }

// Up implements Arm.
func (a Redirect) Up(_ context.Context, r *Rig, setup Setup) (_ *Session, err error) {
	if setup.Kind != Switching {
		return nil, ErrLacks
	}
	s := &Session{Arm: a.Name(), Lanes: r.Lanes}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Down())
		}
	}()
	err = r.Switch.Do(func() error {
		for i := 0; i < len(r.Ports); i += 2 {
			for _, way := range [][2]string{{r.Ports[i], r.Ports[i+1]}, {r.Ports[i+1], r.Ports[i]}} {
				if err := s.redirect(way[0], way[1]); err != nil {
					return fmt.Errorf("redirect %s to %s: %w", way[0], way[1], err)
				}
			}
		}
		return nil
	})
	if errors.Is(err, ebpf.ErrNotSupported) { // tcx came with Linux 6.6
		err = errors.Join(ErrLacks, err)
	}
	return s, err
}

// redirect gives what comes from one port to the guest of another.
func (s *Session) redirect(from, to string) error {
	in, err := host.LinkByName(from)
	if err != nil {
		return err
	}
	out, err := host.LinkByName(to)
	if err != nil {
		return err
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R1, int32(out.Index)),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirectPeer.Call(),
		asm.Return(),
	}})
	if err != nil {
		return err
	}
	defer prog.Close()
	l, err := tcx.AttachTCX(tcx.TCXOptions{Interface: in.Index, Program: prog, Attach: ebpf.AttachTCXIngress})
	if err == nil {
		s.undo(l.Close)
	}
	return err
}
