package shaping

import "slices"

// Group holds the sum of its members to one limit, beside the limits of their
// own. While it is the group's that they wait for, they take turns by bytes,
// whatever each of them offers and however many flows it has.
type Group[T any] struct {
	bucket  Bucket
	limit   Limit
	members []*Shaper[T]
	waiting []*Shaper[T] // members that have something to send
	turn    int          // in waiting
	// The last Drain ended for want of the group's credit: a member that has
	// nothing waiting must not take what others wait for.
	congested bool
}

// NewGroup is a Group without members and with a full credit.
func NewGroup[T any](l Limit, now int64) *Group[T] {
	return &Group[T]{bucket: NewBucket(l, now), limit: l}
}

// Join makes s a member. It must not be one of another group.
func (g *Group[T]) Join(s *Shaper[T]) {
	if s.group != nil {
		panic("shaping: a shaper is a member of one group at most")
	}
	s.group = g
	s.fit()
	g.members = append(g.members, s)
	if s.queue.length > 0 {
		g.waiting = append(g.waiting, s)
	}
}

// Leave makes s a Shaper of its own again. What waits still waits.
func (g *Group[T]) Leave(s *Shaper[T]) {
	g.forget(s)
	g.members = slices.DeleteFunc(g.members, func(m *Shaper[T]) bool { return m == s })
	s.group = nil
	s.fit()
}

// SetLimit changes the limit of the sum from now on.
func (g *Group[T]) SetLimit(l Limit, now int64) {
	if l == g.limit {
		return
	}
	g.limit = l
	g.bucket.SetLimit(l, now)
	for _, s := range g.members {
		s.fit()
	}
}

// Limit is the limit in force.
func (g *Group[T]) Limit() Limit { return g.limit }

// Due is the time from which Drain has something to do, Never if nothing waits.
func (g *Group[T]) Due(now int64) int64 {
	if g.congested && g.turn < len(g.waiting) {
		// Nobody overtakes the one whose turn it is, also not with a shorter frame.
		_, bytes, _ := g.waiting[g.turn].queue.head()
		return g.bucket.When(bytes, now)
	}
	due := int64(Never)
	for _, s := range g.waiting {
		due = min(due, s.Due(now))
	}
	return due
}

// Drain calls emit for what may pass now, of all members, at most most frames of
// it, and returns how many they were. emit must not call the Group or a member.
func (g *Group[T]) Drain(now int64, most int, emit func(T)) int {
	g.congested = false
	sent := 0
	// held counts members in a row that wait for their own limit.
	for held := 0; sent < most && held < len(g.waiting); {
		if g.turn >= len(g.waiting) {
			g.turn = 0
		}
		s := g.waiting[g.turn]
		i, bytes, _ := s.queue.head()
		if !s.bucket.has(bytes, now) {
			g.turn++
			held++
			continue
		}
		held = 0
		if s.deficit <= 0 {
			s.deficit += mtu
			g.turn++
			continue
		}
		if !g.bucket.has(bytes, now) {
			g.congested = true
			break
		}
		item, ok := s.pop(i, bytes, now)
		if s.queue.length == 0 {
			g.forget(s)
		}
		if ok {
			g.bucket.charge(bytes)
			s.deficit -= bytes
			emit(item)
			sent++
		}
	}
	return sent
}

// passes reports whether the group lets a frame pass that comes by no other.
func (g *Group[T]) passes(bytes int, now int64) bool {
	return !(g.congested && len(g.waiting) > 0) && g.bucket.has(bytes, now)
}

// forget takes s off the members that wait.
func (g *Group[T]) forget(s *Shaper[T]) {
	i := slices.Index(g.waiting, s)
	if i < 0 {
		return
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	if g.turn > i {
		g.turn--
	}
	s.deficit = min(s.deficit, 0)
}
