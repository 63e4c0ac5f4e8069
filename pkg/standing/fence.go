package standing

import (
	"fmt"
	"slices"
)

// Fence says what becomes of a pool in which several backends claim to be the primary.
type Fence uint8

const (
	NoFence         Fence = iota // the pool is not one of a primary
	HighestTimeline              // the one with the highest timeline is used; with a tie, none
	Refuse                       // none is used
)

// Claim is a backend's word that it is the primary.
type Claim struct {
	Name     string
	Timeline uint32 // 0 = it has none
}

// Split is what a pool's claims come to.
type Split struct {
	Claims   []Claim // more than one, or none
	Refusing bool    // none of them is used
}

// String names the claims: "pg-1 (timeline 3), pg-2 (timeline 4)". It is empty without a split.
func (s *Split) String() string {
	text := ""
	for i, c := range s.Claims {
		if i > 0 {
			text += ", "
		}
		text += c.Name
		if c.Timeline > 0 {
			text += fmt.Sprintf(" (timeline %d)", c.Timeline)
		}
	}
	return text
}

func (s *Split) equal(t *Split) bool {
	return s.Refusing == t.Refusing && slices.Equal(s.Claims, t.Claims)
}

// fence is the single writer's rule of one pool.
//
//	claims        none, one     ──> it is used, unless its timeline is behind the highest that was seen
//	              several       ──> split: the highest timeline alone; with a tie or Refuse, none
//
// The highest timeline is remembered, since a primary that was fenced off must not get writes because the one
// that was ahead of it died. A person's word forgets it.
type fence struct {
	mode    Fence
	highest Claim
}

// judge answers what the claims come to, and what to tell of each that may not be used: "" if it may.
func (f *fence) judge(claims []Claim) (split Split, objections []string) {
	objections = make([]string, len(claims))
	if f.mode == NoFence || len(claims) == 0 {
		return split, objections
	}
	best, tie := 0, false
	for i, c := range claims[1:] {
		switch t := claims[best].Timeline; {
		case c.Timeline > t:
			best, tie = i+1, false
		case c.Timeline == t:
			tie = true
		}
	}
	if claims[best].Timeline > f.highest.Timeline || claims[best].Name == f.highest.Name {
		f.highest = claims[best]
	}
	if len(claims) > 1 {
		split = Split{Claims: claims, Refusing: tie || f.mode == Refuse}
	}
	for i, c := range claims {
		objections[i] = f.objection(c, &split, claims[best])
	}
	return split, objections
}

func (f *fence) objection(c Claim, split *Split, best Claim) string {
	switch {
	case split.Refusing && f.mode == Refuse:
		return "split: several claim to be the primary, and on_split refuses: " + split.String()
	case split.Refusing:
		return "split: several claim to be the primary, on one timeline: " + split.String()
	case len(split.Claims) > 0 && c != best:
		return "split: fenced off: " + split.String()
	case c.Timeline < f.highest.Timeline:
		return fmt.Sprintf("fenced off: timeline %d is behind %d, which %s had", c.Timeline, f.highest.Timeline, f.highest.Name)
	}
	return ""
}
