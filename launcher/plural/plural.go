// Package plural puts amounts into words. It imports nothing that could read the machine, so that
// packages that must not do so, such as launcher/plan, can use it.
package plural

import (
	"strconv"
	"strings"
)

// Of returns one if n is 1, and many otherwise, with n in place of %d.
func Of(n int, one, many string) string {
	if n != 1 {
		one = many
	}
	return strings.ReplaceAll(one, "%d", strconv.Itoa(n))
}
