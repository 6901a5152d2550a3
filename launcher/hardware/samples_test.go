//go:build linux

package hardware

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// samplesAgree compares a running job's metrics with nvidia-smi. The two never
// look at the same moment, so it looks again until all figures are near.
func samplesAgree(t *testing.T, r rig) (list []comparison, err error) {
	j, url := r.run(t, launchertest.Worker("block")...)
	j.Await(1, `ready (\d+)`)
	_ = r.until(func() error {
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
			return errors.New("not yet")
		}
		return nil
	})
	if err == nil {
		err = stop(j)
	}
	return list, err
}

// eventsRegistered wants no complaint about the registration for events, unless
// the platform has none.
func eventsRegistered(t *testing.T, r rig) error {
	j, url := r.run(t, launchertest.Worker("block")...)
	j.Await(1, `ready (\d+)`)
	// Events are asked for when the GPUs are listed, before the first figures.
	err := r.until(func() error {
		f, err := r.figures(url)
		if err == nil && len(f) == 0 {
			err = errors.New("there are no figures of GPUs yet")
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
		t.Log("events: no complaint")
	case excused:
		t.Log("events: " + line)
	default:
		return errors.New(line)
	}
	return nil
}

var (
	aboutEvents = regexp.MustCompile(`(?m)^.*(?:\bevents\b|\bXIDs will not be told\b).*$`)
	// What NVML says of a platform, not of a call that was wrong.
	noSupport = regexp.MustCompile(`(?:^|\(|: )not supported|permission|blocked by the operating system`)
)

// eventComplaint finds what gpulaunch says about events, and whether the reason
// is that the platform or the card has none.
func eventComplaint(stderr string) (line string, excused bool) {
	line = strings.TrimSpace(aboutEvents.FindString(stderr))
	return line, noSupport.MatchString(line)
}
