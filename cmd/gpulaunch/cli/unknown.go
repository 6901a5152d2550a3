package cli

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

const variablePrefix = "GPULAUNCH_"

// otherVariables are those that stand for no flag and that are not in a plan: of workers that are
// Go functions, and of the tests on machines with GPUs.
var otherVariables = []string{
	"GPULAUNCH_FUNCTION", "GPULAUNCH_ARGUMENT", "GPULAUNCH_BINARY", "GPULAUNCH_STATIC",
	"GPULAUNCH_TEMPLATE_LINK",
}

// testVariables are the beginnings of the names of variables that tests read.
var testVariables = []string{"GPULAUNCH_TEST_", "GPULAUNCH_CHAOS_", "GPULAUNCH_MUTANT"}

// ofService matches the variables that Kubernetes sets in every container for a service whose name
// begins with gpulaunch (https://kubernetes.io/docs/concepts/services-networking/service).
const ofService = `_SERVICE_(HOST|PORT(_\w+)?)=|_PORT=(tcp|udp|sctp)://|` +
	`_PORT_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?=`

// UnknownVariables returns a warning for each variable of an environment whose name begins with
// GPULAUNCH_ and means nothing: most likely it is misspelt, and the user believes that it has an
// effect. The flags are those that variables can stand for. A warning does not show the value,
// which may be secret.
func UnknownVariables(environ []string, flags ...*pflag.FlagSet) (warnings []string) {
	known := slices.Concat(plan.WorkerVariables(), otherVariables)
	var offered []string
	flagOnly := map[string]string{}
	for _, fs := range flags {
		fs.VisitAll(func(f *pflag.Flag) {
			if name := Variable(f); name != "" {
				offered = append(offered, name)
			} else {
				flagOnly[variableName(f)] = f.Name
			}
		})
	}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		isKnown := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
		if !strings.HasPrefix(name, variablePrefix) || value == "" ||
			slices.Contains(known, name) || slices.Contains(offered, name) ||
			slices.ContainsFunc(testVariables, isKnown) {
			continue
		}
		// Few processes get here, so this is not compiled at the start.
		if regexp.MustCompile(ofService).MatchString(entry) {
			continue
		}
		advice := "unset it, and see gpulaunch help environment"
		if near := nearest(name, offered); near != "" {
			advice = fmt.Sprintf("did you mean %s?", near)
		}
		if flag, ok := flagOnly[name]; ok {
			advice = fmt.Sprintf("--%s has no variable; give it on the command line", flag)
		}
		warnings = append(warnings, fmt.Sprintf("the inherited %s has no effect: %s", name, advice))
	}
	return warnings
}

// nearest returns the name that somebody most likely meant, or "" if none is similar. A name that
// only lacks its end, or has more at its end, comes first, then one with few wrong letters, and
// then one that has the other as a part.
func nearest(name string, names []string) string {
	word := func(s string) string { return strings.TrimPrefix(s, variablePrefix) }
	given := strings.ToUpper(strings.ReplaceAll(word(name), "-", "_"))
	type candidate struct {
		name        string
		class, cost int
	}
	var found []candidate
	for _, n := range names {
		w := word(n)
		cost := editDistance(given, w)
		switch {
		case len(given) > 1 && strings.HasPrefix(w, given), strings.HasPrefix(given, w+"_"):
			found = append(found, candidate{n, 0, cost})
		case cost <= 1+len(given)/5:
			found = append(found, candidate{n, 1, cost})
		case len(given) > 3 && strings.Contains(w, given):
			found = append(found, candidate{n, 2, cost})
		}
	}
	if len(found) == 0 {
		return ""
	}
	return slices.MinFunc(found, func(a, b candidate) int {
		return cmp.Or(a.class-b.class, a.cost-b.cost, strings.Compare(a.name, b.name))
	}).name
}

// editDistance returns how many letters have to be inserted, deleted or replaced to turn a into b
// (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
