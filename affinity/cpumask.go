package affinity

import (
	"fmt"
	"strconv"
	"strings"
)

const maskGroupBits = 32

// ParseCPUMask parses the kernel's mask format, such as "ffffffff,00000001": groups of up to eight
// hexadecimal digits that are separated by commas. Each group stands for 32 CPUs, and the highest
// CPUs come first (bitmap_parse in the kernel's lib/bitmap-str.c).
//
// White space and NULs around the mask are ignored, and an empty mask is the empty set.
func ParseCPUMask(s string) (CPUSet, error) {
	mask := trimValue(s)
	if mask == "" {
		return CPUSet{}, nil
	}
	groups := strings.Count(mask, ",") + 1
	if groups > maxCPUs/maskGroupBits {
		return CPUSet{}, fmt.Errorf("invalid CPU mask %s: it has %d CPUs; %d is the most possible",
			quoted(mask), groups*maskGroupBits, maxCPUs)
	}
	words := make([]uint64, (groups+1)/2)
	for group := range strings.SplitSeq(mask, ",") {
		groups--
		value, err := parseMaskGroup(group)
		if err != nil {
			return CPUSet{}, fmt.Errorf("invalid CPU mask %s: %w", quoted(mask), err)
		}
		words[groups/2] |= value << (groups % 2 * maskGroupBits)
	}
	return trimmed(words), nil
}

func parseMaskGroup(group string) (uint64, error) {
	value, err := strconv.ParseUint(group, 16, maskGroupBits)
	if err != nil || len(group) > maskGroupBits/4 {
		return 0, fmt.Errorf("%s is not a group of one to eight hexadecimal digits", quoted(group))
	}
	return value, nil
}
