//go:build linux

package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// The traits of a process. Each is a letter.
const (
	ignores   = 'i' // it ignores TERM, INT, HUP and QUIT
	setsid    = 's' // it leads a session of its own
	doubled   = 'd' // it was forked twice, so its parent has ended
	cleared   = 'c' // it has no environment
	retitled  = 't' // it has overwritten its name, arguments and environment
	holds     = 'h' // it keeps the worker's standard output open
	writes    = 'w' // it prints all the time
	allTraits = "isdcthw"
)

// node is a process of a job, with the processes that it starts.
type node struct {
	Traits string `json:"t,omitempty"`
	Kids   []node `json:"k,omitempty"`
}

func (n node) has(trait rune) bool { return strings.ContainsRune(n.Traits, trait) }

// size returns the number of processes in trees.
func size(trees []node) int {
	n := len(trees)
	for _, t := range trees {
		n += size(t.Kids)
	}
	return n
}

func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // only plain data is encoded
	}
	return string(text)
}

func decode[T any](text string) (v T) {
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(fmt.Sprintf("%v in %s", err, text)) // encode has made it
	}
	return v
}

// randomTree returns a worker for depth 0, and otherwise a process depth levels below one.
func randomTree(rng *rand.Rand, depth int) node {
	var n node
	for _, trait := range allTraits {
		if rng.IntN(4) == 0 && (depth > 0 || strings.ContainsRune("itw", trait)) {
			n.Traits += string(trait)
		}
	}
	if depth == 3 {
		return n
	}
	for range rng.IntN(3 - min(depth, 1)) {
		n.Kids = append(n.Kids, randomTree(rng, depth+1))
	}
	return n
}
