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

// judge waits for the end of the job, as long as it may take, and records what is left.
func (h *host) judge() {
	over := h.until(time.Until(h.lastFault.Add(h.s.limit())), func() bool {
		_, ended := h.ended[h.keeper]
		return h.empty && ended
	})
	h.out.Took = time.Since(h.lastFault)
	if over {
		// All processes have ended. reap is still waiting for those that became our children.
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

// left returns the descendants of this process other than the bystanders.
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
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", d.PID))
	command := strings.ReplaceAll(strings.TrimRight(string(data), "\x00"), "\x00", " ")
	return fmt.Sprintf("%s in state %c: %s", d, d.State, command)
}

// cleanUp ends all descendants of this process.
func (h *host) cleanUp() {
	h.out.Touched = h.endBystanders()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		list, _ := process.Descendants(os.Getpid())
		if len(list) == 0 {
			break
		}
		for _, d := range list {
			_ = d.Signal(unix.SIGKILL) // if this fails, the next round tries again
		}
		select {
		case <-h.changed:
		case <-time.After(5 * time.Millisecond):
		}
	}
}
