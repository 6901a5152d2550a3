package keeper

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/internal/link"
)

// FuzzMessages checks that whatever a supervisor writes, also one that crashes in the middle of a
// line, the keeper keeps the last path of each kind, and takes nothing else for a good end.
func FuzzMessages(f *testing.F) {
	f.Add("cgroup /a\nfolder /b\nleave\nexit 0\n")
	f.Add("cgroup\ncgroup /a b\ncgroup /c")
	f.Add("exit")
	f.Add("exit 0 exit\nexits\n\n \nexit\x00\r\n")
	f.Add(strings.Repeat("x", 70_000) + "\nexit 0\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > 32<<10 {
			// A longer text may fill the pipe.
			_, _ = unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 1<<20)
		}
		if _, err := w.WriteString(text[:min(len(text), 1<<20)]); err != nil {
			t.Fatal(err)
		}
		w.Close()
		k := &Keeper{supervisor: r, messages: make(chan message, 16)}
		defer r.Close()
		go k.readMessages(k.supervisor, k.messages)
		cgroup, folder, leaves, exits := "", "", false, false
		for m := range k.messages {
			switch m.word {
			case link.Suspended:
				continue // it would stop this process
			case link.Cgroup:
				cgroup = m.about
			case link.Folder:
				folder = m.about
			case link.LeaveBehind:
				leaves = true
			case link.Exit:
				exits = true
			}
			if strings.Contains(m.about, "\n") || !strings.Contains(text, m.word+" "+m.about) &&
				m.about != "" {
				t.Errorf("%q has the message %+v", text, m)
			}
			k.handle(m)
		}
		if k.cgroup != cgroup || k.folder != folder || k.leaveBehind != leaves ||
			k.announcedExit != exits {
			t.Errorf("%q leads to %+v", text, k)
		}
		if k.announcedExit && !strings.Contains(text, link.Exit) {
			t.Errorf("%q counts as a good end", text)
		}
	})
}
