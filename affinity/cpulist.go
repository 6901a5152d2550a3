package affinity

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseCPUList reads the kernel's list format: numbers and ranges separated by commas, "0-3,8", and ranges of which every
// group of so many CPUs gives only its first ones, "0-31:2/4" (Documentation/admin-guide/kernel-parameters.rst, "cpu
// lists"). The kernel's "N" and "all" are refused: they mean the number of CPUs, which the text alone does not tell.
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
			return CPUSet{}, fmt.Errorf("CPU list %s: %w", quoted(list), err)
		}
		words = r.addTo(words)
	}
	return trimmed(words), nil
}

// cpuRange is one entry of a list: of first to last, used CPUs out of every group.
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
		return r, fmt.Errorf("%s has a stride but is no range", quoted(entry))
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
		return 0, fmt.Errorf("CPU %d is above the highest that can be, %d", cpu, maxCPUs-1)
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

// String returns the set in the kernel's list format, "0-3,8". The empty set gives "".
func (s CPUSet) String() string {
	text, _ := s.AppendText(nil)
	return string(text)
}

// AppendText appends the kernel's list format to b. It never fails.
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

// MarshalText gives the kernel's list format. It never fails.
func (s CPUSet) MarshalText() ([]byte, error) { return s.AppendText(nil) }

// UnmarshalText reads the kernel's list format, as [ParseCPUList] does.
func (s *CPUSet) UnmarshalText(text []byte) error {
	set, err := ParseCPUList(string(text))
	if err != nil {
		return err
	}
	*s = set
	return nil
}

// trimValue takes off what surrounds a value in sysfs, in captures of it and in C strings: white space, newlines, NULs.
func trimValue(s string) string { return strings.Trim(s, " \t\r\n\x00") }

// quoted quotes s for a message of one line, however long s is.
func quoted(s string) string {
	const most = 60
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}
