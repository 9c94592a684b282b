package hotplug

import (
	"context"
	"errors"
	"strings"
	"time"

	"gxswitch/internal/control"
	"gxswitch/internal/xen"
)

// A call has five seconds, of which the last are for telling that it failed.
const (
	patience = 3500 * time.Millisecond
	lastWord = time.Second
)

// Daemon is what has the ports. *control.Client is one.
type Daemon interface {
	Hotplug(context.Context, control.HotplugSpec) (control.Port, error)
	Unplug(context.Context, control.HotplugRef) error
}

// Options are one call.
type Options struct {
	Args   []string // without the script's own name
	Getenv func(string) string
	Daemon Daemon
	Warn   func(error) // hears what is not to fail a teardown
}

// Run does the call. An error is for exit status 1, and an *control.Error.
func Run(ctx context.Context, o Options) error {
	call, err := xen.ParseCall(o.Args, o.Getenv)
	switch {
	case call.Teardown():
		if err == nil {
			err = detach(ctx, o.Daemon, call)
		}
		if err != nil {
			o.Warn(apiError(err))
		}
		return nil
	case err == nil && call.Action == xen.None:
		return nil
	}
	if err == nil {
		err = attach(ctx, o, call)
	}
	if err == nil {
		return nil
	}
	failure := apiError(err)
	if call.ID != (xen.ID{}) {
		// Where xenstored does not answer, that it can't be told is no news.
		late := fail(ctx, o, call.ID, failure)
		if late != nil && late.Error() != failure.Message {
			o.Warn(apiError(late))
		}
	}
	return failure
}

func ref(call xen.Call) control.HotplugRef {
	return control.HotplugRef{DomID: call.DomID, DevID: call.DevID, Tap: call.ForTap()}
}

func detach(ctx context.Context, d Daemon, call xen.Call) error {
	ctx, cancel := limit(ctx, patience)
	defer cancel()
	return cause(ctx, d.Unplug(ctx, ref(call)))
}

// attach brings the interface to what the domain's configuration says.
func attach(ctx context.Context, o Options, call xen.Call) error {
	ctx, cancel := limit(ctx, patience)
	defer cancel()
	store, err := xen.Dial(ctx, xen.SocketPath(o.Getenv))
	if err != nil {
		return err
	}
	defer store.Close()
	vif, err := xen.ReadVif(ctx, store, call.ID)
	if err != nil {
		return err
	}
	port, err := o.Daemon.Hotplug(ctx, control.HotplugSpec{
		HotplugRef: ref(call), Domain: domainName(vif.Domain), UUID: vif.UUID, Emulated: vif.Emulated || call.ForTap(), VifName: vif.VifName,
		Network: vif.Bridge, MAC: vif.MAC, IP: vif.IPs, VLAN: vif.VLAN, RateFrom: vif.Rate, MTU: vif.MTU,
	})
	if err != nil {
		return cause(ctx, err)
	}
	if call.ForTap() { // the vif's call says that the NIC is connected
		return nil
	}
	return xen.Connected(ctx, store, call.ID, port.MTU)
}

// domainName is the name of the domain's configuration. On a migration xl renames
// the domain after the guest has arrived, long after this call (create_domain,
// tools/xl/xl_vmcontrol.c).
func domainName(s string) string {
	return strings.TrimSuffix(s, "--incoming")
}

// fail tells xenstore, on a connection of its own: that of attach may be what
// failed.
func fail(ctx context.Context, o Options, id xen.ID, why *control.Error) error {
	ctx, cancel := limit(context.WithoutCancel(ctx), lastWord)
	defer cancel()
	store, err := xen.Dial(ctx, xen.SocketPath(o.Getenv))
	if err != nil {
		return err
	}
	defer store.Close()
	message := "gxswitch: " + why.Message
	if why.Hint != "" {
		message += "; " + why.Hint
	}
	return xen.Failed(ctx, store, id, message)
}

// limit gives ctx a time, and a cause that says what was waited for.
func limit(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, control.Errorf(control.CodeRefused, "it took longer than %s", d).
		WithHint("see with gxswitch status whether the daemon answers, with xenstore-ls whether xenstored does"))
}

// cause is err, or why ctx ended where that is all that err says.
func cause(ctx context.Context, err error) error {
	if err != nil && errors.Is(err, ctx.Err()) {
		return context.Cause(ctx)
	}
	return err
}

// apiError is the error with its hint.
func apiError(err error) *control.Error {
	if e, ok := errors.AsType[*control.Error](err); ok {
		// A domain is refused by exit status 1, whatever the daemon makes of it.
		return &control.Error{Code: control.CodeRefused, Message: e.Message, Hint: e.Hint}
	}
	e := control.Errorf(control.CodeRefused, "%v", err)
	if v, ok := errors.AsType[*xen.ValueError](err); ok {
		e.Hint = v.Hint
	}
	return e
}

var _ Daemon = (*control.Client)(nil)
