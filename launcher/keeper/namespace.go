package keeper

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
	"github.com/gpulaunch/gpulaunch/launcher/keeper/early"
)

// namespaceRequest is what a supervisor that has ended has asked for.
type namespaceRequest struct {
	early.Namespace
	mode    string // "" for nothing, "on" or "auto"
	entered bool   // a supervisor has been started in a namespace
	refused string // why that cannot run there
}

// pending reports whether another supervisor is to be started.
func (n namespaceRequest) pending() bool { return n.mode != "" && (!n.entered || n.refused != "") }

// namespaceWanted reports whether the supervisor has ended in order to be started again. It is not
// once the end of the job has been requested.
func (k *Keeper) namespaceWanted() bool {
	if !k.reaped {
		return false
	}
	k.drain()
	return k.namespace.pending() && k.announcedExit && k.requests.first == 0
}

// startInNamespace starts the supervisor again: in a PID namespace or, if that cannot be and is not
// insisted on, outside.
func (k *Keeper) startInNamespace() (err error) {
	n := k.namespace
	reason := n.refused
	if reason == "" {
		err = k.startAgain(func() error { return k.early.StartInside(n.Namespace) })
		if err == nil {
			k.namespace.entered = true // should it be refused there, the next call starts it outside
			return nil
		}
		reason = withoutNamespace(err)
	}
	if n.mode != "auto" {
		return fmt.Errorf("--pid-namespace=on: %s: run as root, permit user namespaces "+
			"(sysctl user.max_user_namespaces), or use auto", reason)
	}
	k.namespace = namespaceRequest{}
	reason = strings.Join(strings.Fields(reason), " ")
	err = k.startAgain(func() error { return k.early.StartOutside(n.Namespace, reason) })
	if err != nil {
		return fmt.Errorf("cannot start the supervisor again: %w", withHint(err))
	}
	return nil
}

// withoutNamespace says why no namespace could be made (clone(2)).
func withoutNamespace(err error) string {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return "the limit on namespaces is reached"
	case errors.Is(err, unix.EINVAL):
		return "this kernel has no PID namespaces"
	}
	return "a PID namespace is refused: " + err.Error()
}

// startAgain has the main thread start another supervisor.
func (k *Keeper) startAgain(start func() error) error {
	started := make(chan error)
	k.onMain <- func() { started <- start() }
	if err := <-started; err != nil {
		return err
	}
	k.supervisor.Close()
	k.begin()
	_ = k.send(link.Listening)
	go k.readMessages(k.supervisor, k.messages)
	return nil
}
