package xen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
)

// The wire (xen/include/public/io/xs_wire.h, docs/misc/xenstore.txt): each
// message is four words in the byte order of the machine, and a payload.
//
//	0 type  4 request's number  8 transaction, 0 for none  12 length of the payload
const (
	headerLen  = 16
	maxPayload = 4096 // XENSTORE_PAYLOAD_MAX; who sends more is cut off
	maxPath    = 3072 // XENSTORE_ABS_PATH_MAX
)

// kind is the type of a message, enum xsd_sockmsg_type.
type kind uint32

const (
	kindDirectory  kind = 1
	kindRead       kind = 2
	kindBegin      kind = 6 // XS_TRANSACTION_START
	kindEnd        kind = 7 // XS_TRANSACTION_END
	kindWrite      kind = 11
	kindRemove     kind = 13
	kindWatchEvent kind = 15
	kindError      kind = 16
)

// verb is the kind of a request in a message.
func (k kind) verb() string {
	switch k {
	case kindDirectory:
		return "list"
	case kindRead:
		return "read"
	case kindWrite:
		return "write"
	case kindRemove:
		return "remove"
	case kindBegin:
		return "begin a transaction at"
	case kindEnd:
		return "end a transaction at"
	}
	return strconv.FormatUint(uint64(k), 10)
}

// header is struct xsd_sockmsg.
type header struct {
	kind        kind
	request, tx uint32
	length      uint32
}

func (h header) append(b []byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(h.kind))
	b = binary.NativeEndian.AppendUint32(b, h.request)
	b = binary.NativeEndian.AppendUint32(b, h.tx)
	return binary.NativeEndian.AppendUint32(b, h.length)
}

func parseHeader(b []byte) header {
	return header{
		kind:    kind(binary.NativeEndian.Uint32(b)),
		request: binary.NativeEndian.Uint32(b[4:]),
		tx:      binary.NativeEndian.Uint32(b[8:]),
		length:  binary.NativeEndian.Uint32(b[12:]),
	}
}

// refusal is xenstored's answer that it will not: the message was whole and the
// connection is as good as before.
type refusal struct{ error }

// readReply reads the answer to a request, past watch events, into buf, which
// has room for any message. The payload is a part of buf.
func readReply(r io.Reader, to header, buf []byte) ([]byte, error) {
	for {
		if _, err := io.ReadFull(r, buf[:headerLen]); err != nil {
			return nil, cutShort(err)
		}
		h := parseHeader(buf)
		if h.length > maxPayload {
			return nil, fmt.Errorf("the answer has %d bytes, and %d are the most", h.length, maxPayload)
		}
		payload := buf[headerLen : headerLen+h.length]
		if _, err := io.ReadFull(r, payload); err != nil {
			return nil, cutShort(err)
		}
		switch {
		case h.kind == kindWatchEvent:
			continue
		case h.request != to.request || h.tx != to.tx:
			return nil, fmt.Errorf("the answer is to request %d in transaction %d, not to request %d in %d",
				h.request, h.tx, to.request, to.tx)
		case h.kind == kindError:
			return nil, parseRefusal(payload)
		case h.kind != to.kind:
			return nil, fmt.Errorf("the answer has type %d, and the request %d", h.kind, to.kind)
		}
		return payload, nil
	}
}

// cutShort tells the end of the connection from an end of file, which is no
// failure to most readers.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("xenstored closed the connection: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// parseRefusal reads the payload of XS_ERROR, an errno's name.
func parseRefusal(payload []byte) error {
	name, ok := strings.CutSuffix(string(payload), "\x00")
	if !ok {
		return fmt.Errorf("the answer is an error without an end: %s", quote(name))
	}
	if errno := errnoOf(name); errno != 0 {
		return refusal{errno}
	}
	return refusal{fmt.Errorf("xenstored says %s", quote(name))}
}

// errnoOf is xsd_errors of xs_wire.h; 0 for a name that is not there.
func errnoOf(name string) syscall.Errno {
	switch name {
	case "EINVAL":
		return syscall.EINVAL
	case "EACCES":
		return syscall.EACCES
	case "EEXIST":
		return syscall.EEXIST
	case "EISDIR":
		return syscall.EISDIR
	case "ENOENT":
		return syscall.ENOENT
	case "ENOMEM":
		return syscall.ENOMEM
	case "ENOSPC":
		return syscall.ENOSPC
	case "EIO":
		return syscall.EIO
	case "ENOTEMPTY":
		return syscall.ENOTEMPTY
	case "ENOSYS":
		return syscall.ENOSYS
	case "EROFS":
		return syscall.EROFS
	case "EBUSY":
		return syscall.EBUSY
	case "EAGAIN":
		return syscall.EAGAIN
	case "EISCONN":
		return syscall.EISCONN
	case "E2BIG":
		return syscall.E2BIG
	case "EPERM":
		return syscall.EPERM
	}
	return 0
}

// checkPath refuses what xenstored would (docs/misc/xenstore.txt), so that a
// path with a nul in it can't become a path and a value.
func checkPath(path string) error {
	switch {
	case len(path) > maxPath:
		return fmt.Errorf("the path has %d bytes, and %d are the most", len(path), maxPath)
	case path == "/":
		return nil
	case !strings.HasPrefix(path, "/"):
		return errors.New("the path does not begin with a slash")
	case strings.HasSuffix(path, "/") || strings.Contains(path, "//"):
		return errors.New("a part of the path is empty")
	case strings.ContainsFunc(path, func(r rune) bool { return r != '/' && !inName(r) }):
		return errors.New("a path has letters, digits, -, _ and @ between its slashes")
	}
	return nil
}

// inName reports whether a part of a path may have the character.
func inName(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '@'
}
