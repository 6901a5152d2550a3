package launcher

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// folders returns the private folders in TMPDIR.
func folders(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "gpulaunch-*"))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestFolderIsRemade removes the folder for error files during an attempt, as a cleaner of TMPDIR
// does. The workers of the next attempt have one.
func TestFolderIsRemade(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	h := newHarness(t)
	h.cfg.Environ = os.Environ()
	h.cfg.Argv = []string{"/bin/sh", "-c",
		`echo '{"message": "boom"}' >"$TORCHELASTIC_ERROR_FILE" && exit 5; exit 6`}
	observe := h.cfg.Observe
	h.cfg.Observe = func(e Event) {
		observe(e)
		if e.Kind == JobRestarting && e.Attempt == 0 {
			list := folders(t)
			if len(list) != 1 {
				t.Errorf("the folders are %q", list)
			}
			for _, path := range list {
				if err := os.RemoveAll(path); err != nil {
					t.Error(err)
				}
			}
		}
	}
	r := h.run(1, restarts(2))
	if root := r.Root(); r.ExitCode != 5 || root.Raised == nil || root.Raised.Message != "boom" {
		t.Errorf("%+v", r)
	}
	if all := strings.Join(h.logged, "\n"); strings.Count(all, "is not there any more") != 1 {
		t.Errorf("the lines are %q", h.logged)
	}
	if list := folders(t); len(list) != 0 {
		t.Errorf("the folders %q are left", list)
	}
}

// TestFolderStaysYoung makes the folder for error files old. The attempt makes it look new.
func TestFolderStaysYoung(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	defer func(usual time.Duration) { folderRefresh = usual }(folderRefresh)
	folderRefresh = time.Millisecond
	h := newHarness(t, "block")
	a, err := Start(t.Context(), h.plan(1), h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		a.Kill()
		a.Join(-1)
	}()
	list := folders(t)
	if len(list) != 1 {
		t.Fatalf("the folders are %q", list)
	}
	old := time.Now().Add(-240 * time.Hour)
	if err := os.Chtimes(list[0], old, old); err != nil {
		t.Fatal(err)
	}
	young := func() bool {
		info, err := os.Stat(list[0])
		return err == nil && time.Since(info.ModTime()) < time.Hour
	}
	if !launchertest.Poll(young) {
		t.Error("the folder stays old")
	}
}

// TestErrorFilesAreForgotten looks into the folder when a restarted worker has been started. The
// error file of the attempt before is not there any more.
func TestErrorFilesAreForgotten(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	h := newHarness(t)
	h.cfg.Environ = os.Environ()
	h.cfg.Argv = []string{"/bin/sh", "-c",
		`echo '{"message": "boom"}' >"$TORCHELASTIC_ERROR_FILE"; exit 5`}
	observe := h.cfg.Observe
	h.cfg.Observe = func(e Event) {
		observe(e)
		files, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*", "error-0-*"))
		if err != nil || e.Kind == WorkerStarted && e.Attempt > 0 && len(files) > 0 {
			t.Errorf("the files %q are there in attempt %d (%v)", files, e.Attempt, err)
		}
	}
	r := h.run(2, restarts(2))
	if root := r.Root(); root.Raised == nil || r.Earlier[0].Raised == nil {
		t.Errorf("%+v", r)
	}
}
