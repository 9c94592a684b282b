package config

import (
	"fmt"
	"strings"
)

// suggest is the candidate that was likely meant by s, "" if none is near. Near
// is one slip in three letters: a letter too many, missing, wrong, or swapped
// with its neighbour.
func suggest(s string, candidates []string) string {
	if len(s) > shown {
		return ""
	}
	best, least := "", max(1, len(s)/3)+1
	for _, c := range candidates {
		if c == s {
			continue
		}
		if d := distance(fold(s), fold(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// fold makes alike what people take for alike.
func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// didYouMean is the hint for a word that is none of the candidates.
func didYouMean(s string, candidates []string) string {
	list := strings.Join(candidates, ", ")
	if c := suggest(s, candidates); c != "" {
		return fmt.Sprintf("did you mean %s? (%s)", quote(c), list)
	}
	return "one of " + list
}

// distance is the optimal string alignment distance: Levenshtein's, with a swap
// of neighbours as one slip.
func distance(a, b string) int {
	row := func() []int { return make([]int, len(b)+1) }
	before, last, next := row(), row(), row()
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			d := min(last[j]+cost, last[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d = min(d, before[j-1]+1)
			}
			next[j+1] = d
		}
		before, last, next = last, next, before
	}
	return last[len(b)]
}
