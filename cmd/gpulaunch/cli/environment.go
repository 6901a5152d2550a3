package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// FromEnvironment sets each flag that the command line does not have from GPULAUNCH_ and its
// name: --grace from GPULAUNCH_GRACE. An empty variable counts as not set.
func FromEnvironment(fs *pflag.FlagSet) (err error) {
	fs.VisitAll(func(f *pflag.Flag) {
		name := Variable(f)
		value := os.Getenv(name)
		other := fs.Lookup(map[string]string{"affinity": "numa-binding",
			"numa-binding": "affinity"}[f.Name])
		if err != nil || f.Changed || value == "" || name == "" || other != nil && other.Changed {
			return
		}
		e := fs.Set(f.Name, value)
		if e != nil && f.Value.Type() == "bool" {
			e = fmt.Errorf("it is neither true nor false")
		}
		if e != nil {
			err = fmt.Errorf("the inherited %s=%q is invalid: %w; correct or unset it", name, value,
				cause(e))
		}
	})
	return err
}

// Variable gives the environment variable for a flag, "" for flags that belong to one
// command line rather than to a machine or a job.
func Variable(f *pflag.Flag) string {
	switch f.Name {
	case "help", "json", "wide", "module", "no-python", "svg", "from", "localities", "report":
		return ""
	}
	return variableName(f)
}

func variableName(f *pflag.Flag) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
}

// cause is what a flag's own parser said, without pflag's wrapping.
func cause(err error) error {
	if e, ok := err.(*pflag.InvalidValueError); ok {
		return e.Unwrap()
	}
	return err
}
