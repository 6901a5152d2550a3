// Package text phrases amounts. It imports nothing that could read the machine, so that packages
// which must not do that, such as launcher/plan, can use it; text for a terminal is in
// launcher/terminal.
package text

import (
	"strconv"
	"strings"
)

// Plural returns one if n is 1, and many otherwise, with n in place of %d.
func Plural(n int, one, many string) string {
	if n != 1 {
		one = many
	}
	return strings.ReplaceAll(one, "%d", strconv.Itoa(n))
}
