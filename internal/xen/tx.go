package xen

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
)

// Tx is a transaction of Update. Its methods are those of Client, and see and
// change the store as it was when the transaction began.
type Tx struct {
	client *Client
	id     uint32 // 0: none, each request for itself
}

// attempts bounds a transaction that others keep coming between.
const attempts = 100

// Update runs f in a transaction: all that it writes becomes visible at once,
// or nothing does if f returns an error. It runs f again where somebody changed
// in between what f has read or written.
func (c *Client) Update(ctx context.Context, f func(*Tx) error) error {
	for range attempts {
		tx, err := c.begin(ctx)
		if err != nil {
			return err
		}
		if err := f(tx); err != nil {
			// Also a caller that gave up wants its transaction gone.
			_, _ = tx.do(context.WithoutCancel(ctx), kindEnd, "/", "F\x00")
			return err
		}
		if err := tx.told(ctx, kindEnd, "/", "T\x00"); !errors.Is(err, syscall.EAGAIN) {
			return err
		}
	}
	return failed(kindEnd, "/", fmt.Errorf("others came between %d times: %w", attempts, syscall.EAGAIN))
}

func (c *Client) begin(ctx context.Context) (*Tx, error) {
	answer, err := c.do(ctx, kindBegin, 0, "/", "\x00")
	if err != nil {
		return nil, err
	}
	text, ended := strings.CutSuffix(answer, "\x00")
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil || !ended || id == 0 {
		return nil, failed(kindBegin, "/", fmt.Errorf("the answer is no transaction: %s", quote(answer)))
	}
	return &Tx{client: c, id: uint32(id)}, nil
}

// Read returns the value of a key.
func (t *Tx) Read(ctx context.Context, path string) (string, error) {
	return t.do(ctx, kindRead, path, path+"\x00")
}

// Directory returns the names of the keys below a key.
func (t *Tx) Directory(ctx context.Context, path string) ([]string, error) {
	answer, err := t.do(ctx, kindDirectory, path, path+"\x00")
	if err != nil {
		return nil, err
	}
	all, err := names(answer)
	if err != nil {
		return nil, failed(kindDirectory, path, err)
	}
	return all, nil
}

// Write sets the value of a key.
func (t *Tx) Write(ctx context.Context, path, value string) error {
	return t.told(ctx, kindWrite, path, path+"\x00"+value)
}

// Remove removes a key and those below it.
func (t *Tx) Remove(ctx context.Context, path string) error {
	return t.told(ctx, kindRemove, path, path+"\x00")
}

// told is do for a request whose answer is OK.
func (t *Tx) told(ctx context.Context, k kind, path, payload string) error {
	answer, err := t.do(ctx, k, path, payload)
	if err == nil && answer != "OK\x00" {
		err = failed(k, path, fmt.Errorf("the answer is %s, not OK", quote(answer)))
	}
	return err
}

func (t *Tx) do(ctx context.Context, k kind, path, payload string) (string, error) {
	if err := checkPath(path); err != nil {
		return "", failed(k, path, err)
	}
	return t.client.do(ctx, k, t.id, path, payload)
}
