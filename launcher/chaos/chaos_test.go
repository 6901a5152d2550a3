//go:build linux

package chaos

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// TestChaos runs random jobs, does one random thing to each, and wants nothing
// left, the documented exit status and nobody else touched. GPULAUNCH_CHAOS_ROUNDS
// says how many jobs; GPULAUNCH_CHAOS_SEED repeats them: round i has the seed
// plus i.
func TestChaos(t *testing.T) {
	rounds := number(t, "GPULAUNCH_CHAOS_ROUNDS", defaultRounds())
	seed := number(t, "GPULAUNCH_CHAOS_SEED", time.Now().UnixNano()/1e6%1e9)
	t.Logf("GPULAUNCH_CHAOS_SEED=%d GPULAUNCH_CHAOS_ROUNDS=%d", seed, rounds)
	list := make([]scenario, rounds)
	for i := range list {
		list[i] = randomScenario(rand.New(rand.NewPCG(uint64(seed)+uint64(i), 0)))
	}
	var longest time.Duration
	kinds := map[kind]int{}
	processes, groups := 0, 0
	performAll(t, list, func(i int, o outcome) {
		s := list[i]
		kinds[s.Faults[0].Kind]++
		processes += size(s.Trees)
		if o.Cgroup != "" {
			groups++
		}
		longest = max(longest, o.Took-s.Grace)
		if problems := o.problems(s); len(problems) > 0 {
			t.Errorf("GPULAUNCH_CHAOS_SEED=%d GPULAUNCH_CHAOS_ROUNDS=1: %q\nscenario: %s\noutcome: %s",
				seed+int64(i), problems, encode(s), encode(o))
		}
	})
	t.Logf("%d jobs, %d of them in a cgroup, %d processes, %v; the last process ended at most %s after the grace period",
		rounds, groups, processes, kinds, longest.Round(time.Millisecond))
}

// number reads a whole number from the environment.
func number(t *testing.T, name string, otherwise int64) int64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// defaultRounds is less where a round takes longer.
func defaultRounds() int64 {
	if testing.Short() || raceDetector {
		return 25
	}
	return 200
}

// randomScenario depends on rng alone.
func randomScenario(rng *rand.Rand) scenario {
	s := scenario{
		Grace: time.Duration(100+rng.IntN(200)) * time.Millisecond,
		End:   []string{"exit 3", "exit 77", "SEGV", "ABRT"}[rng.IntN(4)],
		Flags: randomFlags(rng),
	}
	for range 2 + rng.IntN(7) {
		s.Trees = append(s.Trees, randomTree(rng, 0))
	}
	kinds := []kind{sendTERM, sendINT, sendHUP, killKeeper, killSupervisor, killWorker, stopWorker, endWorker, endWorkers, closeStdout, burst}
	f := fault{Kind: kinds[rng.IntN(len(kinds))], Rank: rng.IntN(len(s.Trees)), When: whenReady}
	f.Delay = time.Duration(rng.IntN(30_000)) * time.Microsecond
	if rng.IntN(2) == 0 {
		f.When = atOnce
	}
	s.Faults = []fault{f}
	s.complete(rng)
	if f.Kind == endWorker && rng.IntN(2) == 0 {
		s.Flags = append(s.Flags, "--max-restarts=1")
		s.Faults[0].When = whenReady
		s.Faults = append(s.Faults, fault{Kind: sendTERM, When: whenAgain})
	}
	return s
}

// complete adds what a fault needs to end the job and to have a known status.
func (s *scenario) complete(rng *rand.Rand) {
	f := &s.Faults[0]
	last := fault{Kind: sendTERM, When: next, Delay: time.Duration(rng.IntN(30)) * time.Millisecond}
	switch f.Kind {
	case endWorkers:
		s.End = "exit 0"
	case closeStdout:
		// Somebody has to write, or nobody notices.
		s.Trees[f.Rank].Traits += string(writes)
	case stopWorker:
		s.Faults = append(s.Faults, last)
	case burst:
		f.Signals = []int{int(unix.SIGTERM), int(unix.SIGINT), int(unix.SIGHUP)}[:1+rng.IntN(3)]
		if rng.IntN(2) == 0 {
			// One that is only passed on ends a launcher that is not up yet, as it ends
			// any program.
			f.When = whenReady
			f.Signals = []int{int(unix.SIGUSR1), int(unix.SIGWINCH), int(unix.SIGCONT)}
			s.Faults = append(s.Faults, last)
		}
	}
}

// randomFlags takes any of the ways to keep a job together.
func randomFlags(rng *rand.Rand) []string {
	if !hasCgroupFlag() {
		return nil
	}
	return []string{[]string{"--cgroup=off", "--cgroup=auto"}[rng.IntN(2)]}
}

// hasCgroupFlag asks the program.
var hasCgroupFlag = sync.OnceValue(func() bool {
	out, _ := exec.Command(launchertest.Binary, "run", "--help").CombinedOutput()
	return bytes.Contains(out, []byte("--cgroup"))
})

// limit is how long the job may take to end.
func (s scenario) limit() time.Duration {
	if s.Within != 0 {
		return s.Within
	}
	return s.Grace + margin
}

// documented reports whether an exit status is what gpulaunch help exit-codes says
// for what was done last.
func (s scenario) documented(status int) bool {
	if s.Status != 0 {
		return status == s.Status
	}
	f := s.Faults[len(s.Faults)-1]
	switch f.Kind {
	case sendTERM:
		return status == 143
	case sendINT:
		return status == 130
	case sendHUP:
		return status == 129
	case killKeeper, killBoth, killWorker:
		return status == 137
	case killSupervisor:
		return status == 125
	case endWorker:
		return status == s.endStatus()
	case endWorkers, hitBystander:
		return status == 0
	case closeStdout:
		return status == 141
	case burst:
		// Thousands of signals to a Go program that does not listen yet may overflow
		// the stack of the runtime's own handler: it is ended by SIGSEGV instead.
		early := f.When == atOnce && status == 128+int(unix.SIGSEGV)
		// Otherwise whichever of them was seen first.
		return early || slices.Contains(f.Signals, status-128)
	}
	return false
}

// endStatus is what a worker that ends by itself makes of the job.
func (s scenario) endStatus() int {
	return map[string]int{"exit 3": 3, "exit 77": 77, "SEGV": 139, "ABRT": 134}[s.End]
}
