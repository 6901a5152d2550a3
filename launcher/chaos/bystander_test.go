//go:build linux

package chaos

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// noted are the signals that a bystander takes down: all that a launcher might
// send by mistake. KILL and STOP show in the process's state.
var noted = []os.Signal{
	unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2,
	unix.SIGWINCH, unix.SIGCONT, unix.SIGTSTP, unix.SIGPIPE, unix.SIGALRM,
}

// bystanderMain says which signals it gets, until its standard input ends.
func bystanderMain() int {
	_ = os.WriteFile("/proc/self/comm", []byte("gpulaunch"), 0)
	c := make(chan os.Signal, 64)
	signal.Notify(c, noted...)
	fmt.Println("ready")
	end := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); close(end) }()
	for {
		select {
		case sig := <-c:
			fmt.Println(unix.SignalName(sig.(syscall.Signal)))
		case <-end:
			return 0
		}
	}
}

// bystander is one that a host has started.
type bystander struct {
	identity
	stdin *os.File
	said  string // after "ready"
	ready bool
}

// addBystander starts one that looks much like a worker: by its environment, its
// name and, without a session of its own, its process group.
func (h *host) addBystander(session bool) error {
	inR, inW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer inR.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	defer outW.Close()
	argv := asRole("bystander")
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Env:   append(os.Environ(), "RANK=0", "GPULAUNCH_RUN_ID=x", "TORCHELASTIC_RUN_ID=x"),
		Files: []uintptr{inR.Fd(), outW.Fd(), 2},
		Sys:   &syscall.SysProcAttr{Setsid: session},
	})
	if err != nil {
		return err
	}
	who, _ := identify(pid)
	b := &bystander{identity: who, stdin: inW}
	h.bystanders = append(h.bystanders, b)
	go h.readLines(outR, func(line string) {
		if !b.ready {
			b.ready = true
			return
		}
		b.said += line + " "
	}, nil)
	return nil
}

// dismissBystanders ends them and says what had happened to them.
func (h *host) dismissBystanders() (touched []string) {
	for _, b := range h.bystanders {
		if s := b.state(); s == 0 || s == 'T' || s == 'Z' {
			touched = append(touched, fmt.Sprintf("bystander %d is in state %q", b.pid, s))
		}
		b.stdin.Close()
	}
	h.until(patience, func() bool {
		for _, b := range h.bystanders {
			if _, ok := h.ended[b.pid]; !ok {
				return false
			}
		}
		return true
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.bystanders {
		if ws := h.ended[b.pid]; !ws.Exited() || ws.ExitStatus() != 0 || b.said != "" {
			touched = append(touched, fmt.Sprintf("bystander %d got %q, wait status %#x", b.pid, b.said, int(ws)))
		}
	}
	if h.struck != "" {
		touched = append(touched, "the launcher's parent got "+h.struck)
	}
	return touched
}
