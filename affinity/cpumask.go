package affinity

import (
	"fmt"
	"strconv"
	"strings"
)

const maskGroupBits = 32

// ParseCPUMask reads the kernel's mask format: groups of up to eight hexadecimal digits, 32 CPUs each, separated by
// commas, the highest CPUs first, "ffffffff,00000001" (the kernel's bitmap_parse in lib/bitmap-str.c). White space and
// NULs around the mask are ignored, and an empty mask is the empty set.
func ParseCPUMask(s string) (CPUSet, error) {
	mask := trimValue(s)
	if mask == "" {
		return CPUSet{}, nil
	}
	groups := strings.Count(mask, ",") + 1
	if groups > maxCPUs/maskGroupBits {
		return CPUSet{}, fmt.Errorf("CPU mask %s: %d CPUs are more than there can be, %d", quoted(mask), groups*maskGroupBits, maxCPUs)
	}
	words := make([]uint64, (groups+1)/2)
	for group := range strings.SplitSeq(mask, ",") {
		groups--
		value, err := parseMaskGroup(group)
		if err != nil {
			return CPUSet{}, fmt.Errorf("CPU mask %s: %w", quoted(mask), err)
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
