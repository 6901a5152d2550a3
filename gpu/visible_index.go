package gpu

import (
	"fmt"
	"strconv"
	"strings"
)

// chooseByIndex reads a list of indexes. Like PyTorch's imitation of the driver's parser, it
// ignores the whole list if an index is repeated, even if an index between the two does not
// exist. Before that, only an entry that is negative or not an index ends the list.
func (inv Inventory) chooseByIndex(entries []string) ([]choice, *cutoff) {
	indexes, cut := readIndexes(entries)
	if indexes == nil {
		return nil, cut
	}
	var chosen []choice
	for i, text := range indexes {
		n, err := strconv.Atoi(text)
		if err != nil || n >= len(inv.Devices) {
			return chosen, stopAt(entries[i], "%s, because %s; correct or remove it",
				quoted(entries[i]), inv.indexRange())
		}
		chosen = append(chosen, choice{device: inv.Devices[n], id: text})
	}
	return chosen, cut
}

// readIndexes reads entries up to one that is not an index. It returns each index as its digits
// without leading zeros, which can be compared at any length. If an index is repeated, the result
// is nil.
func readIndexes(entries []string) ([]string, *cutoff) {
	seen := make(map[string]bool, len(entries))
	indexes := make([]string, 0, len(entries))
	for _, entry := range entries {
		digits, negative, _, ok := leadingInteger(entry)
		switch {
		case !ok:
			return indexes, stopAt(entry, "%s, which is not an index; correct or remove it",
				quoted(entry))
		case negative:
			return indexes, stopAt(entry, "the negative %s; remove it and what follows it",
				quoted(entry))
		case seen[digits]:
			return nil, ignoreAll("index %s is given twice; list each index once",
				shortened(digits))
		}
		seen[digits] = true
		indexes = append(indexes, digits)
	}
	return indexes, nil
}

// leadingInteger reads what C's strtol reads in base 10: blanks, a sign and digits. It returns the
// digits without leading zeros, and at least one, and what follows them.
func leadingInteger(s string) (digits string, negative bool, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	if s != "" && (s[0] == '-' || s[0] == '+') {
		negative = s[0] == '-'
		s = s[1:]
	}
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	if end == 0 {
		return "", false, "", false
	}
	rest = s[end:]
	digits = strings.TrimLeft(s[:end], "0")
	if digits == "" {
		return "0", false, rest, true // -0 is 0
	}
	return digits, negative, rest, true
}

// indexRange says which indexes there are.
func (inv Inventory) indexRange() string {
	switch n := len(inv.Devices); n {
	case 0:
		return "this machine has no GPU"
	case 1:
		return "this machine has only GPU 0"
	default:
		return fmt.Sprintf("this machine has only the GPUs 0 to %d", n-1)
	}
}
