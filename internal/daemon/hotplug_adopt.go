package daemon

import (
	"context"
	"errors"
	"os"
	"time"

	"gxswitch/internal/control"
	"gxswitch/internal/xen"
)

// xenPatience is how long the start of the daemon waits for xenstore, all told.
const xenPatience = 2 * time.Second

// stillThere answers whether a NIC is still that of the domain it was. Where
// xenstore does not answer, the interface's index has to do, which is another's
// only after two thousand million more.
func (m *manager) stillThere() (ask func(control.HotplugSpec) bool, done func()) {
	ctx, cancel := context.WithTimeout(context.Background(), xenPatience)
	var store *xen.Client
	var silent error
	ask = func(s control.HotplugSpec) bool {
		if store == nil && silent == nil {
			store, silent = xen.Dial(ctx, xen.SocketPath(os.Getenv))
		}
		if silent != nil {
			return true
		}
		v, err := xen.ReadVif(ctx, store, xen.ID{DomID: s.DomID, DevID: s.DevID})
		wrong, isValue := errors.AsType[*xen.ValueError](err)
		switch {
		case err == nil && v.UUID == s.UUID:
			return true
		case isValue && !wrong.Missing: // a description that was mended since is the same vif's
			return true
		case err != nil && !isValue:
			silent = err
			m.log.Warn("xenstore does not say whose the vifs are", "err", err)
			return true
		}
		m.log.Warn("a vif of an earlier domain is not attached again", "vif", s.HotplugRef.String(), "domain", s.Domain)
		return false
	}
	return ask, func() {
		cancel()
		if store != nil {
			_ = store.Close()
		}
	}
}
