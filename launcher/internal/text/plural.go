// Package text words what is said to users.
package text

import (
	"strconv"
	"strings"
)

// Plural picks the form of a phrase for n; %d in it is the number.
func Plural(n int, one, many string) string {
	if n != 1 {
		one = many
	}
	return strings.ReplaceAll(one, "%d", strconv.Itoa(n))
}
