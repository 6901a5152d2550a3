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

// TestChaos runs random jobs and does one random thing to each of them. It wants no processes to be
// left, the documented exit status, and no other process to be touched.
//
// GPULAUNCH_CHAOS_ROUNDS is the number of jobs. GPULAUNCH_CHAOS_SEED repeats them: the job of round
// i depends on the seed plus i.
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
		for _, f := range s.Faults {
			kinds[f.Kind]++
		}
		processes += size(s.Trees)
		if o.Cgroup != "" {
			groups++
		}
		longest = max(longest, o.Took-s.Grace)
		if problems := o.problems(s); len(problems) > 0 {
			t.Errorf("%q\nscenario: %s\noutcome: %s\n"+
				"GPULAUNCH_CHAOS_SEED=%d GPULAUNCH_CHAOS_ROUNDS=1 repeats it",
				problems, encode(s), encode(o), seed+int64(i))
		}
	})
	t.Logf("%d jobs, %d of them in a cgroup, %d processes, %v; "+
		"the last process ended at most %s after the grace period",
		rounds, groups, processes, kinds, longest.Round(time.Millisecond))
}

// number returns a whole number from an environment variable, or otherwise if it is not set.
func number(t *testing.T, name string, otherwise int64) int64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s is %q, not a whole number", name, text)
	}
	return n
}

// defaultRounds returns the number of jobs for a run without GPULAUNCH_CHAOS_ROUNDS.
func defaultRounds() int64 {
	if testing.Short() || raceDetector { // with the race detector a job takes much longer
		return 25
	}
	return 200
}

// randomScenario returns a scenario that depends only on rng.
func randomScenario(rng *rand.Rand) scenario {
	s := scenario{
		Grace: time.Duration(100+rng.IntN(200)) * time.Millisecond,
		End:   []string{"exit 3", "exit 77", "SEGV", "ABRT"}[rng.IntN(4)],
		Flags: randomFlags(rng),
	}
	for range 2 + rng.IntN(7) {
		s.Trees = append(s.Trees, randomTree(rng, 0))
	}
	kinds := []kind{
		sendTERM, sendINT, sendHUP, killKeeper, killSupervisor, killWorker, stopWorker, endWorker,
		endWorkers, closeStdout, burst, killGroup, stopSupervisor, stopKeeper,
	}
	f := fault{Kind: kinds[rng.IntN(len(kinds))], Rank: rng.IntN(len(s.Trees)), When: whenReady}
	f.Delay = time.Duration(rng.IntN(30_000)) * time.Microsecond
	if rng.IntN(2) == 0 {
		f.When = atOnce
	}
	s.Faults = []fault{f}
	s.complete(rng)
	if f.Kind == endWorker && rng.IntN(2) == 0 {
		s.Flags = append(s.Flags, "--max-restarts=1", "--restart-delay=0")
		s.Faults[0].When = whenReady
		s.Faults = append(s.Faults, fault{Kind: sendTERM, When: whenAgain})
	}
	s.addNuisances(rng)
	return s
}

// complete adds what the first fault needs to end the job with a known exit status.
func (s *scenario) complete(rng *rand.Rand) {
	f := &s.Faults[0]
	last := fault{Kind: sendTERM, When: next, Delay: time.Duration(rng.IntN(30)) * time.Millisecond}
	switch f.Kind {
	case endWorkers:
		s.End = "exit 0"
	case closeStdout:
		// gpulaunch notices that the reader has left only when it writes.
		s.Trees[f.Rank].Traits += string(writes)
	case stopWorker:
		s.Faults = append(s.Faults, last)
	case stopSupervisor:
		last.Kind = []kind{sendTERM, killKeeper, killGroup}[rng.IntN(3)]
		s.Faults = append(s.Faults, last)
	case stopKeeper:
		// Before it has started the supervisor, there would be nothing to kill.
		f.When, last.Kind = whenReady, killSupervisor
		s.Faults = append(s.Faults, last, fault{Kind: contKeeper, When: next, Delay: last.Delay})
	case burst:
		f.Signals = []int{int(unix.SIGTERM), int(unix.SIGINT), int(unix.SIGHUP)}[:1+rng.IntN(3)]
		if rng.IntN(2) == 0 {
			// These signals are passed on to the workers. Before gpulaunch catches them, they end
			// it as they end any program, so they must not come too early.
			f.When = whenReady
			f.Signals = []int{int(unix.SIGUSR1), int(unix.SIGWINCH), int(unix.SIGCONT)}
			s.Faults = append(s.Faults, last)
		}
	}
}

// randomFlags selects one of the mechanisms that keep track of a job's processes.
func randomFlags(rng *rand.Rand) []string {
	if !hasCgroupFlag() {
		return nil
	}
	return []string{[]string{"--cgroup=off", "--cgroup=auto"}[rng.IntN(2)]}
}

// hasCgroupFlag reports whether the gpulaunch under test knows --cgroup.
var hasCgroupFlag = sync.OnceValue(func() bool {
	out, _ := exec.Command(launchertest.Binary, "run", "--help").CombinedOutput()
	return bytes.Contains(out, []byte("--cgroup"))
})

// limit returns how long the job may take to end after the last fault.
func (s scenario) limit() time.Duration {
	if s.Within != 0 {
		return s.Within
	}
	return s.Grace + margin
}

// documented reports whether an exit status is the one that gpulaunch help exit-codes promises
// after the last fault.
func (s scenario) documented(status int) bool {
	if s.killedAtTheEnd() && status == 137 {
		return true // it was killed before it could return its own exit status
	}
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
	case killKeeper, killBoth, killGroup, killWorker:
		return status == 137
	case killSupervisor, contKeeper:
		return status == 125
	case endWorker:
		return status == s.endStatus()
	case endWorkers, hitBystander:
		return status == 0
	case closeStdout:
		return status == 141
	case burst:
		// When thousands of signals reach a Go program that does not catch them yet, they can
		// overflow the stack of the runtime's own handler, and SIGSEGV ends the program.
		early := f.When == atOnce && status == 128+int(unix.SIGSEGV)
		// Otherwise, any of them may have been noticed first.
		return early || slices.Contains(f.Signals, status-128)
	}
	return false
}

// endStatus returns the exit status of a job whose worker ends by itself.
func (s scenario) endStatus() int {
	return map[string]int{"exit 3": 3, "exit 77": 77, "SEGV": 139, "ABRT": 134}[s.End]
}
