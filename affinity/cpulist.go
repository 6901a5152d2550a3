package affinity

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseCPUList parses the kernel's list format: numbers and ranges separated by commas, as in
// "0-3,8". A range may be divided into groups of which only the first CPUs count: "0-31:2/4" has
// the first two of every four CPUs (Documentation/admin-guide/kernel-parameters.rst, "cpu lists").
// The kernel's "N" and "all" are refused, because they depend on the number of CPUs.
//
// White space and NULs around the list are ignored, and an empty list is the empty set.
func ParseCPUList(s string) (CPUSet, error) {
	list := trimValue(s)
	if list == "" {
		return CPUSet{}, nil
	}
	var words []uint64
	for entry := range strings.SplitSeq(list, ",") {
		r, err := parseCPURange(strings.TrimSpace(entry))
		if err != nil {
			return CPUSet{}, fmt.Errorf("invalid CPU list %s: %w", quoted(list), err)
		}
		words = r.addTo(words)
	}
	return trimmed(words), nil
}

// cpuRange is one entry of a list: the CPUs from first to last, divided into groups of which only
// the first used CPUs count.
type cpuRange struct{ first, last, used, group int }

func parseCPURange(entry string) (cpuRange, error) {
	span, stride, hasStride := strings.Cut(entry, ":")
	first, last, isRange := strings.Cut(span, "-")
	if !isRange {
		last = first
	}
	r := cpuRange{used: 1, group: 1}
	var err error
	if r.first, err = parseCPU(first); err != nil {
		return r, err
	}
	if r.last, err = parseCPU(last); err != nil {
		return r, err
	}
	if r.first > r.last {
		return r, fmt.Errorf("range %s runs backwards", quoted(span))
	}
	if !hasStride {
		return r, nil
	}
	if !isRange {
		return r, fmt.Errorf("%s has a stride but is not a range", quoted(entry))
	}
	return r, r.parseStride(stride)
}

func (r *cpuRange) parseStride(stride string) error {
	used, group, ok := strings.Cut(stride, "/")
	var err, err2 error
	r.used, err = strconv.Atoi(used)
	r.group, err2 = strconv.Atoi(group)
	if !ok || err != nil || err2 != nil || r.used < 1 || r.group < r.used || r.group > maxCPUs {
		return fmt.Errorf("stride %s is not USED/GROUP with 1 <= USED <= GROUP", quoted(stride))
	}
	return nil
}

func parseCPU(s string) (int, error) {
	if s == "" {
		return 0, fmt.Errorf("a CPU number is missing")
	}
	cpu, err := strconv.ParseUint(s, 10, 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s is not a CPU number", quoted(s))
	case cpu >= maxCPUs:
		return 0, fmt.Errorf("CPU %d is above the highest possible, %d", cpu, maxCPUs-1)
	}
	return int(cpu), nil
}

func (r cpuRange) addTo(words []uint64) []uint64 {
	for start := r.first; start <= r.last; start += r.group {
		for cpu := start; cpu < start+r.used && cpu <= r.last; cpu++ {
			words = setBit(words, cpu)
		}
	}
	return words
}

// String returns the set in the kernel's list format, such as "0-3,8". It returns "" for the empty
// set.
func (s CPUSet) String() string {
	text, _ := s.AppendText(nil)
	return string(text)
}

// AppendText appends the set to b, in the kernel's list format. It never fails.
func (s CPUSet) AppendText(b []byte) ([]byte, error) {
	start, first, last := len(b), -1, -2
	flush := func() {
		if first < 0 {
			return
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(first), 10)
		if last > first {
			b = append(b, '-')
			b = strconv.AppendInt(b, int64(last), 10)
		}
	}
	for cpu := range s.All() {
		if cpu != last+1 {
			flush()
			first = cpu
		}
		last = cpu
	}
	flush()
	return b, nil
}

// MarshalText returns the set in the kernel's list format. It never fails.
func (s CPUSet) MarshalText() ([]byte, error) { return s.AppendText(nil) }

// UnmarshalText parses the kernel's list format, as [ParseCPUList] does.
func (s *CPUSet) UnmarshalText(text []byte) error {
	set, err := ParseCPUList(string(text))
	if err != nil {
		return err
	}
	*s = set
	return nil
}

// trimValue removes white space, newlines and NULs, which surround values in sysfs, in captures of
// it and in C strings.
func trimValue(s string) string { return strings.Trim(s, " \t\r\n\x00") }

// quoted returns s as a quoted string that fits into a message of one line, however long s is.
func quoted(s string) string {
	const maxBytes = 60
	if len(s) > maxBytes {
		return strconv.Quote(s[:maxBytes]) + "…"
	}
	return strconv.Quote(s)
}
