package host

import (
	"fmt"
	"strings"
)

// Filter is a tc filter at a link's ingress.
type Filter struct {
	Kind     string // bpf, flower, …
	Name     string // of a BPF program
	Priority uint16 // tc(8) calls it preference
}

func (f Filter) String() string {
	if f.Name != "" {
		return fmt.Sprintf("%s %s, preference %d", f.Kind, f.Name, f.Priority)
	}
	return fmt.Sprintf("%s, preference %d", f.Kind, f.Priority)
}

// ownPrefix begins the names of all filters of the switch's.
const ownPrefix = "gxswitch-"

// ForeignFilter is the first filter at the link's ingress that somebody else put
// there; false if there is none.
func ForeignFilter(index int) (Filter, bool, error) {
	qdisc, err := ingressQdisc(index)
	if err != nil || qdisc == "" {
		return Filter{}, false, err
	}
	all, err := filters(index, guardState{qdisc: qdisc}.parent())
	if err != nil {
		return Filter{}, false, err
	}
	for _, f := range all {
		own := f.kind == "bpf" && strings.HasPrefix(f.name, ownPrefix) && f.handle&guardHandleMask == guardHandle
		if f.handle != 0 && !own {
			return Filter{f.kind, f.name, f.priority}, true, nil
		}
	}
	return Filter{}, false, nil
}
