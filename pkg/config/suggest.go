package config

import (
	"fmt"
	"strings"
)

// maxWord is the longest word, in bytes, for which a suggestion is looked for:
// distance takes time and the square of it.
const maxWord = 128

// closest returns the candidate that was probably meant: the one at the least
// edit distance, within a third of the word's length or one, or the only one of which
// it is a longer or shorter form (leastconn for least-connections, warning for
// warn). Case, hyphens and underscores do not count.
func closest(word string, candidates []string) (string, bool) {
	if len(word) > maxWord {
		return "", false
	}
	w := letters(word)
	best, least := "", min(max(1, len(w)/3), len(w)-1)+1
	for _, c := range candidates {
		if len(c) > maxWord {
			continue
		}
		if d := distance(w, letters(c)); d < least {
			best, least = c, d
		}
	}
	if best != "" {
		return best, true
	}
	return onlyForm(w, candidates)
}

func onlyForm(w string, candidates []string) (string, bool) {
	found := ""
	for _, c := range candidates {
		switch l := letters(c); {
		case min(len(w), len(l)) < 3 || !strings.HasPrefix(l, w) && !strings.HasPrefix(w, l):
		case found != "":
			return "", false
		default:
			found = c
		}
	}
	return found, found != ""
}

// maxListed is how many candidates are read before one looks them up instead.
const maxListed = 12

// didYouMean is the end of a sentence: "; did you mean X?" or, where nothing
// comes close, "; want one of" them all unless they are too many.
func didYouMean(word string, candidates []string) string {
	if c, ok := closest(word, candidates); ok {
		return fmt.Sprintf("; did you mean %q?", c)
	}
	if len(candidates) > maxListed {
		return ""
	}
	return "; want one of " + strings.Join(candidates, ", ")
}

func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' {
			return -1
		}
		return r
	}, strings.ToLower(s))
}

// distance is the number of bytes to insert, remove, replace or swap with
// their neighbour that turns a into b (optimal string alignment).
func distance(a, b string) int {
	before, above := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+differ(a[i-1], b[j-1]))
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above = above, row
	}
	return above[len(b)]
}

func differ(a, b byte) int {
	if a == b {
		return 0
	}
	return 1
}

// DidYouMean is the end of a sentence about a word that is none of the candidates: "; did
// you mean X?" or, where nothing comes close, "; want one of" them all. It is empty where
// they are too many, or none.
func DidYouMean(word string, candidates []string) string {
	if len(candidates) == 0 {
		return ""
	}
	return didYouMean(word, candidates)
}
