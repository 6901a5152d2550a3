//go:build linux

package run

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/plural"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// announce says what is about to run.
func (j *Job) announce(p plan.Plan) {
	for _, w := range slices.Concat(j.unknown, p.Warnings) {
		j.out.say("warning: " + w)
	}
	j.warnOfInput()
	if j.quiet {
		return
	}
	if reason, ok := j.place.Reason(); ok {
		j.out.say("going on without a PID namespace (--pid-namespace=auto): " + reason)
	}
	workers := plural.Of(len(p.Workers), "%d worker", "%d workers")
	if p.Mode == plan.ModeCPU {
		j.out.say(fmt.Sprintf("%s on CPUs, no GPU: %s", workers, p.Reason))
		return
	}
	j.out.say(fmt.Sprintf("%s on %s; %s", workers, devices(p), p.Reason))
}

// devices lists the GPUs of a plan: "GPU 0, 1, 2".
func devices(p plan.Plan) string {
	var list []string
	seen := map[int]bool{}
	for _, w := range p.Workers {
		if !seen[w.Device.Index] {
			seen[w.Device.Index] = true
			list = append(list, fmt.Sprint(w.Device.Index))
		}
	}
	return "GPU " + strings.Join(list, ", ")
}

// observe tells metrics and the user what happens.
func (j *Job) observe(e launcher.Event) {
	j.metrics.take(e)
	j.countLaunched(e)
	if j.quiet {
		return
	}
	switch e.Kind {
	case launcher.TemplateStarted: // importing takes seconds
		j.out.say(e.Text)
	case launcher.TemplateReady:
		j.out.say(e.Template.String())
	case launcher.GPUEventsSilent:
		if e.Text == "" {
			j.out.say("XIDs are told again")
			return
		}
		j.out.say("XIDs will not be told: " + e.Text)
	}
}

// countLaunched notices when all workers have been started.
func (j *Job) countLaunched(e launcher.Event) {
	switch e.Kind {
	case launcher.JobStarted:
		j.starting = len(e.Plan.Workers)
	case launcher.WorkerStarted:
		if j.starting--; j.starting == 0 {
			j.markLaunched()
		}
	case launcher.JobStopping:
		j.markLaunched()
	}
}

// finish says how the job ended and turns it into an exit code. The line that matters most
// comes last, where a terminal shows it.
func (j *Job) finish(r launcher.Result) error {
	j.warnOfInput() // what was written to a pipe may have come after the start
	if r.ExitCode != 0 {
		var table strings.Builder
		_ = r.Table(&table, terminal.StyleOf(os.Stderr, os.Getenv)) // a Builder takes all
		j.out.print(table.String())
	}
	for _, line := range r.Summary() {
		j.out.say(line)
	}
	if r.ExitCode == 0 {
		return nil
	}
	return &cli.ExitError{Code: r.ExitCode}
}

// debugf says what happens inside, with the time since the user's command was started.
func (j *Job) debugf(format string, args ...any) {
	if j.debug {
		since := time.Since(j.begun).Seconds()
		j.out.say(fmt.Sprintf("debug: +%.6fs %s", since, fmt.Sprintf(format, args...)))
	}
}

// parseTime reads nanoseconds since the epoch; the time of now for what is none.
func parseTime(text string) time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Now()
	}
	return time.Unix(0, n)
}
