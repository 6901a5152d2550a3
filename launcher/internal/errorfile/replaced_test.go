//go:build linux

package errorfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// TestReplacedWhileRead has another file take the place of the error file again and again while it
// is read, until one falls between the look at the file and its opening: that is an error, because
// the file that was opened is not the one that was looked at.
func TestReplacedWhileRead(t *testing.T) {
	folder, err := Make()
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Remove()
	name := folder.Name(0, 0)
	other := filepath.Join(folder.Path(), "other")
	for _, path := range []string{name, other} {
		if err := os.WriteFile(path, []byte(`{"message": "oops"}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				// Both names exist at any moment.
				_ = unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, other,
					unix.RENAME_EXCHANGE)
			}
		}
	}()
	var last error
	noticed := launchertest.Poll(func() bool {
		for range 1000 {
			_, last = folder.Read(0, 0)
			if last != nil {
				return true
			}
		}
		return false
	})
	close(stop)
	<-stopped
	if !noticed || !strings.Contains(last.Error(), "replaced while it was being read") {
		t.Errorf("the last error is %v, want that the file was replaced", last)
	}
	if record, err := folder.Read(0, 0); err != nil || record == nil || record.Message != "oops" {
		t.Errorf("once nothing replaces it any more, it is %+v, %v", record, err)
	}
}
