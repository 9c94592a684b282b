package config

import (
	"errors"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxFile bounds a file. A thousand ports fit in a quarter of it.
const maxFile = 1 << 20

// node is one value of a document. The library's own decoder stops at the first
// wrong type and forgets where a value stood; this tree keeps the order and the
// position of everything.
type node struct {
	pos  Position // of the key or header
	kind unstable.Kind
	text string // String: its value; any other scalar: as written

	order []string         // Table: its keys as they came
	table map[string]*node // Table
	list  []*node          // Array
}

func newTable(pos Position) *node {
	return &node{pos: pos, kind: unstable.Table, table: map[string]*node{}}
}

// at is the position of the key name in the table n, or of n without it.
func (n *node) at(name string) Position {
	if c := n.table[name]; c != nil {
		return c.pos
	}
	return n.pos
}

// follow is the position of what the steps lead to, names in tables and places in
// arrays, or of the last on the way that is there.
func (n *node) follow(steps []string) Position {
	pos := n.pos
	for _, s := range steps {
		c := n.table[s]
		if i, err := strconv.Atoi(s); err == nil && n.kind == unstable.Array && i < len(n.list) {
			c = n.list[i]
		}
		if c == nil {
			break
		}
		n, pos = c, c.pos
	}
	return pos
}

// put adds the key to the table n.
func (n *node) put(name string, c *node) {
	if n.table[name] == nil {
		n.order = append(n.order, name)
	}
	n.table[name] = c
}

// parseDocument reads a TOML text.
func parseDocument(name string, data []byte) (*node, *Error) {
	if len(data) > maxFile {
		e := problem("the file is larger than 1 MiB")
		e.Pos.File = name
		return nil, e
	}
	// The parser below sees one expression at a time. That no key is there
	// twice and every value is one is for the decoder to say.
	var all map[string]any
	if err := toml.Unmarshal(data, &all); err != nil {
		return nil, syntaxError(name, err)
	}
	d := document{name: name, root: newTable(Position{File: name})}
	for i, c := range data {
		if c == '\n' {
			d.newlines = append(d.newlines, i)
		}
	}
	d.parser.Reset(data)
	d.current = d.root
	for d.parser.NextExpression() {
		if err := d.add(d.parser.Expression()); err != nil {
			return nil, syntaxError(name, err)
		}
	}
	if err := d.parser.Error(); err != nil {
		return nil, syntaxError(name, err)
	}
	return d.root, nil
}

// syntaxError is the library's word on a text that is not TOML.
func syntaxError(name string, err error) *Error {
	e := problem("%s", strings.TrimPrefix(err.Error(), "toml: "))
	// A message may repeat a key, and a key in quotes may hold anything.
	if q := strconv.Quote(e.Msg); strings.ContainsAny(q[1:len(q)-1], `\`) {
		e.Msg = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	}
	e.Pos.File = name
	var at *toml.DecodeError
	if errors.As(err, &at) {
		e.Pos.Line, e.Pos.Column = at.Position()
	}
	if strings.Contains(e.Msg, "at start of value") {
		e = e.hint(`text needs quotes, as in mode = "bridged"`)
	}
	return e
}

// document is a tree in the making.
type document struct {
	name     string
	parser   unstable.Parser
	newlines []int // offsets
	root     *node
	current  *node // the table of the last header
}

var errTwice = errors.New("a key has two meanings")

// add puts one expression, a header or key = value, into the tree.
func (d *document) add(x *unstable.Node) error {
	switch x.Kind {
	case unstable.Table:
		d.current = d.root.descend(d.key(x.Key()), true)
	case unstable.ArrayTable:
		parts := d.key(x.Key())
		last := parts[len(parts)-1]
		parent := d.root.descend(parts[:len(parts)-1], false)
		if parent == nil {
			return errTwice
		}
		list := parent.table[last.name]
		if list == nil {
			list = &node{pos: last.pos, kind: unstable.Array}
			parent.put(last.name, list)
		}
		d.current = newTable(last.pos)
		list.list = append(list.list, d.current)
	case unstable.KeyValue:
		return d.keyValue(d.current, x)
	}
	if d.current == nil {
		return errTwice
	}
	return nil
}

// keyValue puts key = value into the table t.
func (d *document) keyValue(t *node, x *unstable.Node) error {
	parts := d.key(x.Key())
	last := parts[len(parts)-1]
	t = t.descend(parts[:len(parts)-1], false)
	if t == nil || t.table[last.name] != nil {
		return errTwice
	}
	v, err := d.value(last.pos, x.Value())
	if err != nil {
		return err
	}
	t.put(last.name, v)
	return nil
}

func (d *document) value(pos Position, x *unstable.Node) (*node, error) {
	switch x.Kind {
	case unstable.Array:
		n := &node{pos: pos, kind: unstable.Array}
		for it := x.Children(); it.Next(); {
			at := pos
			if c := it.Node(); c.Kind == unstable.InlineTable {
				at = d.firstKey(c, pos)
			}
			v, err := d.value(at, it.Node())
			if err != nil {
				return nil, err
			}
			n.list = append(n.list, v)
		}
		return n, nil
	case unstable.InlineTable:
		n := newTable(pos)
		for it := x.Children(); it.Next(); {
			if err := d.keyValue(n, it.Node()); err != nil {
				return nil, err
			}
		}
		return n, nil
	default:
		return &node{pos: pos, kind: x.Kind, text: string(x.Data)}, nil
	}
}

// firstKey is the position of an inline table, which bears none itself.
func (d *document) firstKey(x *unstable.Node, or Position) Position {
	it := x.Children()
	if !it.Next() {
		return or
	}
	return d.key(it.Node().Key())[0].pos
}

// descend follows a dotted key down from the table n and makes the tables that
// are missing. It is nil where a value stands in the way. The last part of a
// header is where the table is, whatever mentioned it before.
func (n *node) descend(parts []keyPart, header bool) *node {
	for i, p := range parts {
		c := n.table[p.name]
		switch {
		case c == nil:
			c = newTable(p.pos)
			n.put(p.name, c)
		case c.kind == unstable.Array && len(c.list) > 0:
			c = c.list[len(c.list)-1]
		case header && i == len(parts)-1:
			c.pos = p.pos
		}
		if c.kind != unstable.Table {
			return nil
		}
		n = c
	}
	return n
}

// keyPart is one part of a dotted key.
type keyPart struct {
	name string
	pos  Position
}

func (d *document) key(it unstable.Iterator) []keyPart {
	var parts []keyPart
	for it.Next() {
		k := it.Node()
		line := sort.SearchInts(d.newlines, int(k.Raw.Offset)) + 1
		parts = append(parts, keyPart{string(k.Data), Position{File: d.name, Line: line}})
	}
	return parts
}
