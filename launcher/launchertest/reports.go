//go:build linux

package launchertest

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

var reportLine = regexp.MustCompile(`(?m)^(?:\[ *\d+\] )?report (.*)$`)

// Reports runs a job of workers that report about themselves, and returns their reports by rank.
// The test fails if the job does.
func Reports(t testing.TB, env []string, args ...string) []Report {
	t.Helper()
	j := Start(t, env, append(append([]string{"run"}, args...), Worker("report")...)...)
	if code, stderr := j.Exit(); code != 0 {
		t.Fatalf("the job ended with exit code %d\n%s", code, stderr)
	}
	stdout, _ := j.Output()
	var list []Report
	for _, m := range reportLine.FindAllStringSubmatch(stdout, -1) {
		var r Report
		if err := json.Unmarshal([]byte(m[1]), &r); err != nil {
			t.Fatalf("a worker's report is not JSON (%v): %s", err, m[1])
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Report) int { return rank(a) - rank(b) })
	return list
}

// rank returns -1 for a worker without a rank.
func rank(r Report) int {
	n, err := strconv.Atoi(r.Env["RANK"])
	if err != nil {
		return -1
	}
	return n
}
