package xentest

import (
	"maps"
	"path"
	"strconv"
	"strings"
)

// talk is one connection's state.
type talk struct {
	server *Server
	open   map[uint32]*transaction
}

// transaction is a copy of the tree. It can be committed as long as nobody else
// has changed anything, which is stricter than xenstored is.
type transaction struct {
	tree   tree
	change uint64 // of the server, when it began
	writes []Write
}

// refusal is the name of an errno.
type refusal string

// answer does what a request asks for.
func (t *talk) answer(m message) message {
	t.server.mu.Lock()
	defer t.server.mu.Unlock()
	payload, no := t.do(m)
	if no != "" {
		return message{kind: failure, request: m.request, tx: m.tx, payload: string(no) + "\x00"}
	}
	return message{kind: m.kind, request: m.request, tx: m.tx, payload: payload}
}

func (t *talk) do(m message) (string, refusal) {
	const ok = "OK\x00"
	s := t.server
	tx := t.open[m.tx]
	if m.tx != 0 && tx == nil {
		return "", "ENOENT"
	}
	switch m.kind {
	case begin:
		if tx != nil {
			return "", "EBUSY"
		}
		s.lastTx++
		t.open[s.lastTx] = &transaction{tree: maps.Clone(s.tree), change: s.change}
		return strconv.FormatUint(uint64(s.lastTx), 10) + "\x00", ""
	case end:
		if tx == nil {
			return "", "ENOENT"
		}
		delete(t.open, m.tx)
		switch {
		case m.payload == "F\x00":
			return ok, ""
		case m.payload != "T\x00":
			return "", "EINVAL"
		case s.change != tx.change:
			return "", "EAGAIN"
		}
		s.tree, s.writes = tx.tree, append(s.writes, tx.writes...)
		s.change++
		return ok, ""
	case getDomainPath:
		return "/local/domain/" + strings.TrimSuffix(m.payload, "\x00") + "\x00", ""
	}

	key, rest, ended := strings.Cut(m.payload, "\x00")
	if !ended {
		return "", "EINVAL"
	}
	if !strings.HasPrefix(key, "/") {
		key = "/local/domain/0/" + key // of a client on the socket, who is dom0
	}
	if !valid(key) {
		return "", "EINVAL"
	}
	tree, writes := s.tree, &s.writes
	if tx != nil {
		tree, writes = tx.tree, &tx.writes
	}
	value, exists := tree[key]
	_, above := tree[path.Dir(key)]
	switch {
	case m.kind == write:
		tree.set(key, rest)
		*writes = append(*writes, Write{key, rest})
	case m.kind == mkdir && exists:
		return ok, ""
	case m.kind == mkdir:
		tree.set(key, "")
	case m.kind == remove && (exists || above):
		tree.remove(key)
	case !exists:
		return "", "ENOENT"
	case m.kind == read:
		return value, ""
	case m.kind == directory:
		list := strings.Join(append(tree.below(key), ""), "\x00")
		if len(list) > most {
			return "", "E2BIG"
		}
		return list, ""
	case m.kind == getPerms:
		return "n0\x00", ""
	case m.kind == setPerms:
	default:
		return "", "ENOSYS"
	}
	if tx == nil {
		s.change++
	}
	return ok, ""
}

// valid is whether xenstored takes a path.
func valid(key string) bool {
	const chars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-/_@"
	return len(key) <= 3072 && strings.Trim(key, chars) == "" && !strings.Contains(key, "//") &&
		(key == "/" || !strings.HasSuffix(key, "/"))
}
