package xentest

import (
	"encoding/binary"
	"fmt"
	"io"
)

// The types of messages that the server knows (xs_wire.h).
const (
	directory     = 1
	read          = 2
	getPerms      = 3
	begin         = 6
	end           = 7
	getDomainPath = 10
	write         = 11
	mkdir         = 12
	remove        = 13
	setPerms      = 14
	watchEvent    = 15
	failure       = 16
)

// most is XENSTORE_PAYLOAD_MAX.
const most = 4096

// message is struct xsd_sockmsg with what follows it.
type message struct {
	kind, request, tx uint32
	payload           string
}

func readMessage(r io.Reader) (message, error) {
	var head [4]uint32
	if err := binary.Read(r, binary.NativeEndian, &head); err != nil {
		return message{}, err
	}
	if head[3] > most {
		return message{}, fmt.Errorf("a payload of %d bytes", head[3])
	}
	payload := make([]byte, head[3])
	_, err := io.ReadFull(r, payload)
	return message{kind: head[0], request: head[1], tx: head[2], payload: string(payload)}, err
}

// bytes is the message on the wire. It may be longer than what is allowed.
func (m message) bytes() []byte {
	b := make([]byte, 0, 16+len(m.payload))
	for _, word := range []uint32{m.kind, m.request, m.tx, uint32(len(m.payload))} {
		b = binary.NativeEndian.AppendUint32(b, word)
	}
	return append(b, m.payload...)
}
