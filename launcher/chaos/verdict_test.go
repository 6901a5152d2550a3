//go:build linux

package chaos

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// judge waits as long as the job's end may take and then looks who is left.
func (h *host) judge() {
	over := h.until(time.Until(h.faulted.Add(h.s.limit())), func() bool {
		_, ended := h.ended[h.keeper]
		return h.empty && ended
	})
	h.out.Took = time.Since(h.faulted)
	if over {
		// All are dead. Those who came to us are being waited for.
		h.until(margin, func() bool { return len(h.left()) == 0 })
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range h.left() {
		h.out.Left = append(h.out.Left, describe(d))
		for _, m := range h.members {
			if m.pid == d.PID && m.rank >= 0 && m.state() != 'Z' {
				h.out.Workers++
			}
		}
	}
	h.out.Adopted = len(h.ended)
	if ws, ok := h.ended[h.keeper]; ok {
		h.out.Exit, h.out.Died = process.ExitStatusOf(ws).Code, ws.Signaled()
		h.out.Adopted--
	} else {
		h.out.Exit = -1
	}
	h.out.Stderr = h.stderr.String()
	for _, m := range h.members {
		if strings.Contains(m.cgroup, "gpulaunch-") {
			h.out.Cgroup = m.cgroup
		}
	}
}

// left lists what there is below us besides the bystanders.
func (h *host) left() (list []process.Descendant) {
	all, err := process.Descendants(os.Getpid())
	if err != nil {
		h.out.Err = err.Error()
	}
	for _, d := range all {
		if d.PID != h.bystanders[0].pid && d.PID != h.bystanders[1].pid {
			list = append(list, d)
		}
	}
	return list
}

func describe(d process.Descendant) string {
	command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", d.PID))
	return fmt.Sprintf("%s state %c %s", d, d.State, strings.ReplaceAll(strings.TrimRight(string(command), "\x00"), "\x00", " "))
}

// cleanUp ends all that there is, whatever has gone wrong.
func (h *host) cleanUp() {
	h.out.Touched = h.dismissBystanders()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		list, _ := process.Descendants(os.Getpid())
		if len(list) == 0 {
			break
		}
		for _, d := range list {
			_ = d.Signal(unix.SIGKILL) // the next round shows it
		}
		select {
		case <-h.changed:
		case <-time.After(5 * time.Millisecond):
		}
	}
}
