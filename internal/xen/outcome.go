package xen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
)

// Connected tells that a vif is set up: the guest is told its MTU, unless it is
// 0, and netback may let it in. netback waits for just this, and looks again
// whenever the guest reconnects, so it is not to be taken back while the vif
// lives.
//
// A rate is moved to where netback does not look, in the same step: the switch
// holds the guest to it, and netback, which reads it when the guest connects
// (xen_net_read_rate, drivers/net/xen-netback/xenbus.c), would do it a second
// time. ReadVif finds it there.
//
// A vif that went in the meantime gets no keys, which nobody would remove: the
// error is then fs.ErrNotExist.
func Connected(ctx context.Context, c *Client, id ID, mtu int) error {
	err := c.Update(ctx, func(tx *Tx) error {
		if _, err := tx.Read(ctx, id.BackendPath()); err != nil {
			return err
		}
		// A guest may remove its own directory, and does no one harm but itself.
		_, err := tx.Read(ctx, id.FrontendPath())
		switch {
		case errors.Is(err, fs.ErrNotExist) || mtu == 0:
		case err != nil:
			return err
		default:
			if err := tx.Write(ctx, id.FrontendPath()+"/mtu", strconv.Itoa(mtu)); err != nil {
				return err
			}
		}
		if err := moveRate(ctx, tx, id); err != nil {
			return err
		}
		return tx.Write(ctx, id.BackendPath()+"/hotplug-status", "connected")
	})
	if err != nil {
		return fmt.Errorf("tell that %s is connected: %w", id, err)
	}
	return nil
}

// rateKey is where a rate is that the switch has taken over.
const rateKey = "gxswitch-rate"

func moveRate(ctx context.Context, tx *Tx, id ID) error {
	rate, err := tx.Read(ctx, id.BackendPath()+"/rate")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = tx.Write(ctx, id.BackendPath()+"/"+rateKey, rate)
	}
	if err == nil {
		err = tx.Remove(ctx, id.BackendPath()+"/rate")
	}
	return err
}

// Failed tells that a vif can't be set up, and why: xl prints the message and
// destroys the domain it was creating. The message becomes one line. The caller
// exits with 1, which is what xl goes by.
//
// A vif that was connected before stays so: its guest would lose it when it
// reconnects, and whoever called a second time sees the exit status.
func Failed(ctx context.Context, c *Client, id ID, message string) error {
	err := c.Update(ctx, func(tx *Tx) error {
		if _, err := tx.Read(ctx, id.BackendPath()); err != nil {
			return err
		}
		status, err := tx.Read(ctx, id.BackendPath()+"/hotplug-status")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := tx.Write(ctx, id.BackendPath()+"/hotplug-error", oneLine(message)); err != nil || status == "connected" {
			return err
		}
		return tx.Write(ctx, id.BackendPath()+"/hotplug-status", "error")
	})
	if err != nil {
		return fmt.Errorf("tell that %s failed: %w", id, err)
	}
	return nil
}
