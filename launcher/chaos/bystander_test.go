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

// noticed are the signals that a launcher could send to the wrong process. SIGKILL and SIGSTOP
// cannot be caught, but they show in the process's state.
var noticed = []os.Signal{
	unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2,
	unix.SIGWINCH, unix.SIGCONT, unix.SIGTSTP, unix.SIGPIPE, unix.SIGALRM,
}

// bystanderMain prints the names of the signals that it gets, until its standard input ends.
func bystanderMain() int {
	_ = os.WriteFile("/proc/self/comm", []byte("gpulaunch"), 0)
	c := make(chan os.Signal, 64)
	signal.Notify(c, noticed...)
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

// bystander is a process that a host has started and that has nothing to do with the job.
type bystander struct {
	identity
	stdin   *os.File
	ready   bool
	printed string // the signals that it got
}

// addBystander starts a bystander that looks like a worker: it has a worker's environment and name
// and, unless attr says otherwise, the process group of the launcher.
func (h *host) addBystander(attr syscall.SysProcAttr) error {
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
		Sys:   &attr,
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
		b.printed += line + " "
	}, nil)
	return nil
}

// endBystanders ends the bystanders, and returns what the launcher has done to them.
func (h *host) endBystanders() (touched []string) {
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
		if ws := h.ended[b.pid]; !ws.Exited() || ws.ExitStatus() != 0 || b.printed != "" {
			touched = append(touched, fmt.Sprintf("bystander %d got the signals %q and ended with "+
				"the wait status %#x", b.pid, b.printed, int(ws)))
		}
	}
	if h.strayed != "" {
		touched = append(touched, "the launcher's parent got "+h.strayed)
	}
	return touched
}
