//go:build linux

package main

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// before is what may be initialised before a keeper starts its supervisor: what package os
// needs, and what comes before it in Go's order anyway (see package startearly). All of it
// together takes a tenth of a millisecond; what would come on top is paid for by every job.
var before = []string{
	"context", "crypto", "crypto/internal/fips140deps/cpu", "crypto/internal/fips140deps/time",
	"encoding/base64", "errors", "github.com/ebitengine/purego/internal/cgo", "hash/crc32",
	"internal/bytealg", "internal/godebug", "internal/poll", "internal/runtime/gc/scan",
	"io/fs", "iter", "math", "os", "os/signal", "runtime", "runtime/cgo", "runtime/metrics",
	"sync", "syscall", "time",
}

// Nothing that can wait is initialised before the keeper starts the supervisor.
func TestInitialisedFirst(t *testing.T) {
	cmd := exec.Command(launchertest.Binary, "run", "-q", "--nproc-per-node=1", "/bin/true")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Until the supervisor says something, all is the keeper's.
	text := string(out)
	end := strings.Index(text, "cmd/gpulaunch/startearly")
	const first = "internal/bytealg"
	if i := strings.Index(text, first); end >= 0 && i >= 0 {
		if second := strings.Index(text[i+len(first):], first); second >= 0 {
			end = min(end, i+len(first)+second)
		}
	}
	if end < 0 {
		t.Fatalf("package startearly is not initialised:\n%s", text)
	}
	list := initialised(text[:end])
	for _, name := range list {
		if !slices.Contains(before, name) {
			t.Errorf("%s is initialised before the keeper starts the supervisor: is it imported "+
				"by launcher/keeper/early?", name)
		}
	}
	if !slices.Contains(list, "os") { // the control
		t.Errorf("package os is not initialised: does this test see what is?\n%s", text)
	}
}

// Nothing that only metrics need is initialised before the job begins.
func TestInitialisedBeforeJob(t *testing.T) {
	_, theirs := launchertest.ListeningLink(t)
	cmd := exec.Command(launchertest.Binary, "supervise", "3", "0", "first", "-q", "--nproc-per-node=1",
		"--metrics-address=127.0.0.1:0", "/bin/sleep", "0.1")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	cmd.ExtraFiles = []*os.File{theirs}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	list := initialised(string(out))
	job := slices.Index(list, "github.com/gpulaunch/gpulaunch/cmd/gpulaunch/startjob")
	if job < 0 {
		t.Fatalf("package startjob is not initialised:\n%s", out)
	}
	for _, name := range []string{"net/http", "github.com/prometheus/client_golang/prometheus"} {
		if slices.Index(list, name) < job {
			t.Errorf("%s is initialised before the job begins, or not at all:\n%s", name,
				strings.Join(list, "\n"))
		}
	}
}

// initialised lists the packages in what GODEBUG=inittrace=1 prints (see package runtime).
func initialised(trace string) (list []string) {
	for _, m := range regexp.MustCompile(`(?m)^init (\S+) @`).FindAllStringSubmatch(trace, -1) {
		list = append(list, m[1])
	}
	return list
}
