package launcher

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gpulaunch/gpulaunch/launcher/internal/spawn"
)

// serviceVariables are what a service manager tells the one process that it has started: where to
// report its state (sd_notify(3)) and which descriptors are its sockets (sd_listen_fds(3)). A
// worker that inherited them would report in the launcher's name or use sockets that it does not
// have.
var serviceVariables = []string{
	"NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES",
}

// keepInherited keeps from the workers what was passed to this process alone, unless
// Config.KeepFDs says otherwise: descriptors and serviceVariables.
func (s *shared) keepInherited() {
	cfg := s.cfg
	if cfg.KeepFDs {
		return
	}
	cfg.Environ = slices.DeleteFunc(slices.Clone(cfg.Environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(serviceVariables, name)
	})
	if err := spawn.KeepDescriptors(spawn.NamedDescriptors(cfg.Argv)); err != nil {
		cfg.Log(fmt.Sprintf("warning: workers may inherit descriptors of gpulaunch: %v", err))
	}
}
