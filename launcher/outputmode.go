package launcher

import "fmt"

// OutputMode says what becomes of the workers' standard output and error.
type OutputMode string

const (
	// OutputPrefix writes them line by line, each with its rank in front.
	OutputPrefix OutputMode = "prefix"
	// OutputInherit gives the launcher's own descriptors to the workers.
	OutputInherit OutputMode = "inherit"
)

// ParseOutputMode reads "prefix" or "inherit".
func ParseOutputMode(s string) (OutputMode, error) {
	switch m := OutputMode(s); m {
	case OutputPrefix, OutputInherit:
		return m, nil
	}
	return "", fmt.Errorf("%q is not an output mode: use prefix or inherit", s)
}
