package affinity

import (
	"fmt"
	"strconv"
	"strings"
)

// CanonicalPCI returns a PCI address as sysfs writes it: in lower case, "0000:1b:00.0". It accepts
// the form of NVML, which has a domain of eight digits ("00000000:1B:00.0"), and addresses without
// a domain. Domains above ffff, which exist behind Intel VMD and on Hyper-V, keep all their digits.
func CanonicalPCI(addr string) (string, error) {
	text := trimValue(addr)
	fields := strings.Split(text, ":")
	if len(fields) == 2 {
		fields = append([]string{"0"}, fields...)
	}
	if len(fields) != 3 {
		return "", badPCI(text)
	}
	device, function, ok := strings.Cut(fields[2], ".")
	domain, ok1 := hex(fields[0], 8, 0xffffffff)
	bus, ok2 := hex(fields[1], 2, 0xff)
	dev, ok3 := hex(device, 2, 0x1f)
	fn, ok4 := hex(function, 1, 7)
	if !ok || !ok1 || !ok2 || !ok3 || !ok4 {
		return "", badPCI(text)
	}
	return fmt.Sprintf("%04x:%02x:%02x.%x", domain, bus, dev, fn), nil
}

func badPCI(text string) error {
	return fmt.Errorf("%s is not a PCI address such as 0000:1b:00.0", quoted(text))
}

func hex(digits string, most int, limit uint64) (uint64, bool) {
	n, err := strconv.ParseUint(digits, 16, 64)
	return n, err == nil && len(digits) <= most && n <= limit
}
