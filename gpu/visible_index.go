package gpu

import (
	"fmt"
	"strconv"
	"strings"
)

// chooseByIndex reads a list of indexes. As in PyTorch's rebuild of the driver's parser, a repeated index voids the
// list even where an index between the two does not exist; only text that is no index, or a negative one, ends the
// reading before that.
func (inv Inventory) chooseByIndex(entries []string) ([]choice, *ending) {
	indexes, stop := readIndexes(entries)
	if stop != nil && stop.entry == "" && indexes == nil {
		return nil, stop
	}
	var chosen []choice
	for i, text := range indexes {
		n, err := strconv.Atoi(text)
		if err != nil || n >= len(inv.Devices) {
			return chosen, &ending{entries[i], fmt.Sprintf("CUDA stops reading at %s, because %s; correct or remove it",
				quoted(entries[i]), inv.indexRange())}
		}
		chosen = append(chosen, choice{device: inv.Devices[n], id: text})
	}
	return chosen, stop
}

// readIndexes reads as many entries as are indexes, each as its digits without leading zeros: that compares right at
// any length. With a repeated one the result is nil.
func readIndexes(entries []string) ([]string, *ending) {
	seen := make(map[string]bool, len(entries))
	indexes := make([]string, 0, len(entries))
	for _, entry := range entries {
		digits, negative, ok := leadingInteger(entry)
		switch {
		case !ok:
			return indexes, &ending{entry, fmt.Sprintf("CUDA stops reading at %s, which is not an index; correct or remove it",
				quoted(entry))}
		case negative:
			return indexes, &ending{entry, fmt.Sprintf("CUDA stops reading at the negative %s; remove what stands behind it",
				quoted(entry))}
		case seen[digits]:
			return nil, &ending{"", fmt.Sprintf("CUDA shows no GPU at all, because index %s is given twice; give each one once",
				shortened(digits))}
		}
		seen[digits] = true
		indexes = append(indexes, digits)
	}
	return indexes, nil
}

// leadingInteger reads what C's strtol reads at base 10: blanks, a sign, digits, and nothing of what follows. It
// returns the digits without leading zeros, at least one.
func leadingInteger(s string) (digits string, negative, ok bool) {
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
		return "", false, false
	}
	digits = strings.TrimLeft(s[:end], "0")
	if digits == "" {
		return "0", false, true // -0 is 0
	}
	return digits, negative, true
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
