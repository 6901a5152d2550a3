package launcher

import (
	"errors"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
	"github.com/gpulaunch/gpulaunch/launcher/internal/process"
)

// KeeperLink is a supervisor's connection to its keeper.
type KeeperLink struct {
	// Control is what the keeper and others want of the job.
	Control <-chan Control

	conn *os.File
}

// Supervise makes this process the supervisor of the keeper at the other end
// of the descriptor fd. Call it once and first thing.
func Supervise(fd string) (*KeeperLink, error) {
	n, err := strconv.Atoi(fd)
	if err == nil {
		_, err = unix.GetsockoptInt(n, unix.SOL_SOCKET, unix.SO_TYPE)
	}
	if err != nil || n < 3 {
		return nil, errors.New("supervise is started by gpulaunch run, not by hand: use gpulaunch run")
	}
	unix.CloseOnExec(n)
	// Started from /proc/self/exe, this process would be called exe in ps and top.
	_ = os.WriteFile("/proc/self/comm", []byte("gpulaunch"), 0)
	if err := process.BecomeSubreaper(); err != nil {
		return nil, err
	}
	control := make(chan Control, 64)
	direct := make(chan os.Signal, 64)
	// At once: the first would print a trace, the second stop this process alone.
	signal.Notify(direct, unix.SIGQUIT, unix.SIGTSTP)
	// At once, too: from here on something may write, and writing to a standard output
	// that nobody reads must give an error rather than end this process with its workers
	// still running (see package os/signal). Ignoring the signal would do that as well,
	// but workers would inherit it (execve(2)).
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	go func() {
		// The others are not waited for: it takes a millisecond, and until then a
		// signal ends this process, which has started nothing yet.
		link.Listen(direct, direct) // one that is lost here comes over the link, too
		for sig := range direct {
			control <- Control{Signal: sig.(syscall.Signal), Direct: true}
		}
	}()
	k := &KeeperLink{Control: control, conn: os.NewFile(uintptr(n), "link to the keeper")}
	go k.listen(control)
	return k, nil
}

// keeperLost is what to do when the keeper has been killed.
var keeperLost = Control{Signal: unix.SIGTERM, Direct: true, Hurry: true, Reason: "the launcher's first process is gone"}

// tell tells the keeper something, in one write. Without a keeper there is nobody
// to tell.
func (k *KeeperLink) tell(word, about string) {
	if k != nil && !strings.Contains(about, "\n") {
		_, _ = k.conn.WriteString(strings.TrimSpace(word+" "+about) + "\n")
	}
}

// wish reads one byte of the link. What hastens the end has no signal of its own;
// it is the one that has stopped the job before.
func (k *KeeperLink) wish(b byte) Control {
	switch b {
	case link.Kill:
		return Control{Signal: unix.SIGTERM, Kill: true, Reason: "asked again"}
	case link.Quit:
		return Control{Signal: unix.SIGTERM, Quit: true}
	}
	c := Control{Signal: syscall.Signal(b)}
	if c.Signal == unix.SIGTSTP {
		c.Done = func() { k.tell(link.Suspended, "") }
	}
	return c
}

// Exit tells the keeper that this process ends with code as it should. It is
// the last word: the keeper takes an end without it for a crash.
func (k *KeeperLink) Exit(code int) { k.tell(link.Exit, strconv.Itoa(code)) }

// listen turns what the keeper writes into wishes, for the process's life.
func (k *KeeperLink) listen(control chan<- Control) {
	buf := make([]byte, 64)
	for {
		n, err := k.conn.Read(buf)
		for _, b := range buf[:n] {
			control <- k.wish(b)
		}
		if err == nil {
			continue
		}
		control <- keeperLost // io.EOF, or an error that comes to the same
		return
	}
}
