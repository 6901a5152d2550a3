//go:build linux

package launchertest

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// Reports runs a job of reporting workers to its end and gives what they said,
// by rank.
func Reports(t testing.TB, env []string, args ...string) []Report {
	t.Helper()
	j := Start(t, env, append(append([]string{"run"}, args...), Worker("report")...)...)
	if code, stderr := j.Exit(); code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	stdout, _ := j.Output()
	var list []Report
	for _, m := range regexp.MustCompile(`(?m)^(?:\[ *\d+\] )?report (.*)$`).FindAllStringSubmatch(stdout, -1) {
		var r Report
		if err := json.Unmarshal([]byte(m[1]), &r); err != nil {
			t.Fatalf("%v in %s", err, m[1])
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Report) int { return number(a.Env["RANK"]) - number(b.Env["RANK"]) })
	return list
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}
