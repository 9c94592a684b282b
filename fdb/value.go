package fdb

// PortID is a port's number within its network. The dataplane chooses it, and
// chooses densely from 0: the table keeps a record for every number up to the
// highest it has met.
type PortID uint16

// Kind says where an entry comes from. The zero Kind is that of no entry.
type Kind uint8

// The kinds.
const (
	Dynamic Kind = iota + 1 // learned from a frame: moves, ages, may be evicted
	Static                  // an operator's
	Local                   // the switch's own: the address of a host interface
)

// String is the word that users see.
func (k Kind) String() string {
	switch k {
	case Dynamic:
		return "dynamic"
	case Static:
		return "static"
	case Local:
		return "local"
	}
	return "none"
}

// value is what a slot knows about its key, in one word so that a reader can't
// get half of a change:
//
//	63          32 31        16 15         2 1    0
//	stamp, seconds | port      | generation | kind
//
// The kind is zero where the slot is free. The generation counts the keys that
// the slot has held, which is how a reader notices that a slot changed hands
// between its looks at key and value (see index.find). It wraps after 16384; to
// be deceived a reader must lose the CPU between two loads until the one slot
// has been reused exactly that often, and its old key has come back to it.
type value uint64

const (
	kindMask       value = 1<<2 - 1
	generationMask value = 1<<16 - 1 - kindMask
	oneGeneration  value = kindMask + 1
	portShift            = 16
	stampShift           = 32
)

// makeValue is a value without generation.
func makeValue(p PortID, kind Kind, now int64) value {
	return value(uint32(now))<<stampShift | value(p)<<portShift | value(kind)
}

func (v value) kind() Kind    { return Kind(v & kindMask) }
func (v value) port() PortID  { return PortID(v >> portShift) }
func (v value) stamp() uint32 { return uint32(v >> stampShift) }

// age is the seconds since the stamp. It is negative where another worker, with
// a later now, has already stamped the entry. Stamps wrap after 136 years, and
// the difference is right for 68.
func (v value) age(now int64) int32 { return int32(uint32(now) - v.stamp()) }

// restamped is v, heard at now.
func (v value) restamped(now int64) value {
	return v&(1<<stampShift-1) | value(uint32(now))<<stampShift
}

// inGenerationOf is v, in the generation of u.
func (v value) inGenerationOf(u value) value { return v&^generationMask | u&generationMask }

// inNextGeneration is v, as the value of the next key in a slot that held u.
func (v value) inNextGeneration(u value) value { return v.inGenerationOf(u + oneGeneration) }
