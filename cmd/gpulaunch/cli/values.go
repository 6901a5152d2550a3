package cli

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/gpulaunch/gpulaunch/affinity"
)

// Parsed registers a flag whose value has a parser and a String form.
func Parsed[T any](fs *pflag.FlagSet, name, placeholder, usage string, p *T,
	parse func(string) (T, error)) {
	fs.Var(&value[T]{p, placeholder, parse}, name, usage)
}

type value[T any] struct {
	p     *T
	kind  string
	parse func(string) (T, error)
}

func (v *value[T]) String() string { return fmt.Sprint(*v.p) }
func (v *value[T]) Type() string   { return v.kind }
func (v *value[T]) Set(s string) (err error) {
	parsed, err := v.parse(s)
	if err == nil {
		*v.p = parsed
	}
	return err
}

// parseNUMABinding reads the modes that torchrun has.
func parseNUMABinding(s string) (affinity.Policy, error) {
	mode, err := OneOf("node", "socket", "exclusive", "core-complex")(s)
	return affinity.Policy{Mode: affinity.Mode(mode)}, err
}

// OneOf gives a parser for one of a few words.
func OneOf(words ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !slices.Contains(words, s) {
			return "", fmt.Errorf("%q is unknown: use %s", s, strings.Join(words, " or "))
		}
		return s, nil
	}
}

// Whole parses a whole number.
func Whole(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", s)
	}
	return n, nil
}

// Seconds is a duration that may be written as a plain number of seconds, as for timeout(1).
type Seconds time.Duration

// String gives the duration as Go writes it, without units that are 0: 1m and not 1m0s.
func (d *Seconds) String() string {
	text := time.Duration(*d).String()
	for _, unit := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, unit) {
			text = strings.TrimSuffix(text, unit[1:])
		}
	}
	return text
}

// Type is what help texts call the value.
func (d *Seconds) Type() string { return "duration" }

// Set reads a duration.
func (d *Seconds) Set(s string) error {
	v, err := time.ParseDuration(s)
	if n, e := strconv.ParseFloat(s, 64); e == nil {
		v, err = wholeNanoseconds(n)
	}
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration: write 30s, 2m or a number of seconds", s)
	}
	*d = Seconds(v)
	return nil
}

// wholeNanoseconds gives a number of seconds as a duration. What Go makes of one that does not fit,
// such as NaN or 1e300, depends on the processor.
func wholeNanoseconds(seconds float64) (time.Duration, error) {
	n := seconds * float64(time.Second)
	if !(math.Abs(n) < 1<<63) {
		return 0, errors.New("no duration is so long")
	}
	return time.Duration(n), nil
}
