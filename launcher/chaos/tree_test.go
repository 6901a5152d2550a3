//go:build linux

package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// The traits of a process, a letter each.
const (
	ignores   = 'i' // TERM, INT, HUP and QUIT
	setsid    = 's' // leads a session of its own
	doubled   = 'd' // its parent has ended: forked twice
	cleared   = 'c' // has no environment
	retitled  = 't' // has overwritten its name, arguments and environment
	holds     = 'h' // keeps the worker's standard output open
	writes    = 'w' // prints all the time
	allTraits = "isdcthw"
)

// node is a process of a job with those that it starts.
type node struct {
	Traits string `json:"t,omitempty"`
	Kids   []node `json:"k,omitempty"`
}

func (n node) has(trait rune) bool { return strings.ContainsRune(n.Traits, trait) }

// size counts the processes of trees.
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
		panic(err) // plain data
	}
	return string(text)
}

func decode[T any](text string) (v T) {
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(fmt.Sprintf("%v in %s", err, text)) // ours
	}
	return v
}

// randomTree makes a worker, or a process depth levels below one.
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
