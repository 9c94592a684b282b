package xen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"time"
)

// patience bounds every request, also where the caller's context has no
// deadline. xenstored answers in well under a millisecond; it has been seen to
// take tens of them on a busy host, and xl kills a script after 40 s.
const patience = 5 * time.Second

// Client is a connection to xenstored. It serves a hotplug call or two; it does
// not come back by itself after a failure of the connection.
type Client struct {
	socket   string
	patience time.Duration

	turn chan struct{} // full while a request is under way; it guards all below
	conn net.Conn
	last uint32 // number of the last request
	gone error  // why the connection was given up
	buf  [headerLen + maxPayload]byte
}

// SocketPath is where xenstored listens, by the environment that Xen's own
// programs look at (xenstored(8), tools/libs/store).
func SocketPath(getenv func(string) string) string {
	if path := getenv("XENSTORED_PATH"); path != "" {
		return path
	}
	if dir := getenv("XENSTORED_RUNDIR"); dir != "" {
		return dir + "/socket"
	}
	return "/run/xenstored/socket"
}

// Dial connects to xenstored at a unix socket. Without such a socket the error
// is fs.ErrNotExist: the host does not run Xen, or this is not dom0.
func Dial(ctx context.Context, socket string) (*Client, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		// net's error repeats the address, however long.
		if e, ok := errors.AsType[*net.OpError](err); ok {
			err = e.Err
		}
		return nil, fmt.Errorf("connect to xenstored at %s: %w", quote(socket), err)
	}
	return &Client{socket: socket, patience: patience, conn: conn, turn: make(chan struct{}, 1)}, nil
}

// Close ends the connection. A request under way fails.
func (c *Client) Close() error { return c.conn.Close() }

// Read returns the value of a key. A key that does not exist is
// fs.ErrNotExist.
func (c *Client) Read(ctx context.Context, path string) (string, error) {
	return (&Tx{client: c}).Read(ctx, path)
}

// Directory returns the names of the keys below a key, fs.ErrNotExist if
// there is no such key.
func (c *Client) Directory(ctx context.Context, path string) ([]string, error) {
	return (&Tx{client: c}).Directory(ctx, path)
}

// Write sets the value of a key, and makes it and those above it where they
// don't exist.
func (c *Client) Write(ctx context.Context, path, value string) error {
	return (&Tx{client: c}).Write(ctx, path, value)
}

// Remove removes a key and those below it. One that does not exist is no
// error, unless the one above it does not exist either.
func (c *Client) Remove(ctx context.Context, path string) error {
	return (&Tx{client: c}).Remove(ctx, path)
}

// do sends a request and returns its answer. path is for messages.
func (c *Client) do(ctx context.Context, k kind, tx uint32, path, payload string) (string, error) {
	answer, err := c.exchange(ctx, k, tx, payload)
	if err != nil {
		if r, ok := errors.AsType[refusal](err); ok {
			err = r.error
		}
		return "", failed(k, path, err)
	}
	return answer, nil
}

func failed(k kind, path string, err error) error {
	if checkPath(path) != nil {
		path = quote(path)
	}
	return &fs.PathError{Op: "xenstore: " + k.verb(), Path: path, Err: err}
}

// exchange is one turn of the connection.
func (c *Client) exchange(ctx context.Context, k kind, tx uint32, payload string) (string, error) {
	if len(payload) > maxPayload {
		return "", fmt.Errorf("the request has %d bytes, and %d are the most", len(payload), maxPayload)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.patience,
		fmt.Errorf("no answer from %s in %s: %w", quote(c.socket), c.patience, context.DeadlineExceeded))
	defer cancel()
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if c.gone != nil {
		return "", fmt.Errorf("the connection was given up: %w", c.gone)
	}

	late := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	c.last++
	h := header{kind: k, request: c.last, tx: tx, length: uint32(len(payload))}
	_, err := c.conn.Write(append(h.append(c.buf[:0]), payload...))
	var answer []byte
	if err != nil {
		err = fmt.Errorf("send the request: %w", err)
	} else {
		answer, err = readReply(c.conn, h, c.buf[:])
	}
	inTime := late()
	if _, ok := errors.AsType[refusal](err); err != nil && !ok {
		if !inTime {
			err = context.Cause(ctx)
		}
		c.giveUp(err)
		return "", err
	}
	if !inTime {
		c.giveUp(context.Cause(ctx)) // the socket's deadline has passed
	}
	return string(answer), err
}

func (c *Client) giveUp(why error) {
	c.gone = why
	_ = c.conn.Close()
}

// names reads the answer to DIRECTORY: names with a nul behind each.
func names(answer string) ([]string, error) {
	if answer == "" {
		return nil, nil
	}
	list, ok := strings.CutSuffix(answer, "\x00")
	all := strings.Split(list, "\x00")
	for _, name := range all {
		if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return !inName(r) }) {
			return nil, fmt.Errorf("the answer is no list of names: %s", quote(answer))
		}
	}
	return all, nil
}
