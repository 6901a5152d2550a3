package terminal

import (
	"strings"

	"github.com/docker/go-units"
)

// byteUnits are the units of sizes, each 1024 times the one before.
var byteUnits = []string{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// Bytes returns a size with at most one decimal: "1.5 GiB", "64 MiB", "1023 bytes". More
// decimals are cut off and not rounded, so that a size just below a limit does not look as
// if it were the limit.
func Bytes(n uint64) string {
	const cut = 8 // decimals
	number, unit, _ := strings.Cut(units.CustomSize("%.9f %s", float64(n), 1024, byteUnits), " ")
	return strings.TrimSuffix(number[:len(number)-cut], ".0") + " " + unit
}

// ShortBytes returns a size rounded to two digits, or to an integer if that has more:
// "7.7 GiB", "64 GiB", "754 GiB". It is for places where a size is one of many facts.
func ShortBytes(n uint64) string {
	if n < 1024 {
		return Bytes(n)
	}
	size := units.CustomSize("%.1f %s", float64(n), 1024, byteUnits)
	if strings.IndexByte(size, '.') > 1 {
		size = units.CustomSize("%.0f %s", float64(n), 1024, byteUnits)
	}
	return size
}
