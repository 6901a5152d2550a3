package capture

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWriteLiveMachine(t *testing.T) {
	archive := write(t, "", nil)
	machine := openBytes(t, archive)
	if diff := cmp.Diff(readTopology(t, ""), readTopology(t, machine.Root)); diff != "" {
		t.Errorf("live -, capture +:\n%s", diff)
	}
	if machine.Inventory != nil {
		t.Errorf("inventory %q of none", machine.Inventory)
	}
	if !bytes.Equal(archive, write(t, "/", nil)) {
		t.Error("two captures of the live machine differ")
	}
	host, err := os.Hostname()
	if err == nil && len(host) > 3 && bytes.Contains(unzipped(t, archive), []byte(host)) {
		t.Errorf("the host's name, %s, is in the capture", host)
	}
	for _, header := range entriesOf(t, archive) {
		if !header.ModTime.Equal(time.Unix(0, 0)) || header.Uid != 0 || header.Gid != 0 ||
			header.Uname != "" || header.Gname != "" {
			t.Fatalf("%s has a time or an owner: %+v", header.Name, header)
		}
		if header.Typeflag == tar.TypeSymlink && filepath.IsAbs(header.Linkname) {
			t.Errorf("%s links to %s", header.Name, header.Linkname)
		}
	}
}

// entriesOf reads a gzip'ed tar archive with nothing of this package.
func entriesOf(t *testing.T, archive []byte) []tar.Header {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(unzipped(t, archive)))
	var headers []tar.Header
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return headers
		}
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, *header)
	}
}
