//go:build linux

package hardware

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// samplesAgree compares the metrics of a running job with nvidia-smi. The two never take a sample
// at the same moment, so it compares again until all values are close to each other.
func samplesAgree(t *testing.T, r rig) (list []comparison, err error) {
	j, url := r.run(t, launchertest.Worker("block")...)
	j.Await(1, `ready (\d+)`)
	_ = r.retry(func() error {
		var rows []row
		var f figures
		if f, err = r.figures(url); err != nil {
			return err
		}
		if rows, err = r.query("gpu", sampleQuery()...); err != nil {
			return err
		}
		list = compareSamples(rows, f)
		if len(differences(list)) > 0 {
			return errors.New("some samples differ")
		}
		return nil
	})
	if err == nil {
		err = stop(j)
	}
	return list, err
}

// eventsRegistered wants no complaint about NVML events, unless the platform does not support them.
func eventsRegistered(t *testing.T, r rig) error {
	j, url := r.run(t, launchertest.Worker("block")...)
	j.Await(1, `ready (\d+)`)
	// The job registers for events when it lists the GPUs, before it takes the first sample.
	err := r.retry(func() error {
		f, err := r.figures(url)
		if err == nil && len(f) == 0 {
			err = errNoFigures
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := stop(j); err != nil {
		return err
	}
	_, stderr := j.Output()
	line, excused := eventComplaint(stderr)
	switch {
	case line == "":
		t.Log("events: there is no complaint")
	case excused:
		t.Log("events: " + line)
	default:
		return errors.New(line)
	}
	return nil
}

var (
	aboutEvents = regexp.MustCompile(`(?m)^.*\b(?:events|XIDs)\b.*$`)
	// noSupport matches NVML's errors about the platform, but not its errors about a wrong call.
	noSupport = regexp.MustCompile(
		`(?:^|\(|: )not supported|permission|blocked by the operating system`)
)

// eventComplaint returns what gpulaunch says about events. excused is true if the reason is that
// the platform or the card does not support them.
func eventComplaint(stderr string) (line string, excused bool) {
	line = strings.TrimSpace(aboutEvents.FindString(stderr))
	return line, noSupport.MatchString(line)
}
