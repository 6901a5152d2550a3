package capture

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
	"github.com/gpulaunch/gpulaunch/affinity/internal/rootfs"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// TestOpenReadsCapturesAsTarDoes compares what Open unpacks with what tar(1) does.
func TestOpenReadsCapturesAsTarDoes(t *testing.T) {
	for name, file := range affinitytest.Captures(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			unpackWithTar(t, file, dir)
			before := tree(t, dir)
			folder, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			want := readTopology(t, folder.Root)
			if want.Online.Len() < 4 {
				t.Fatalf("a capture of only %d CPUs proves nothing", want.Online.Len())
			}
			archive := openCapture(t, name, file)
			if diff := cmp.Diff(want, readTopology(t, archive.Root)); diff != "" {
				t.Errorf("from the folder -, from the archive +:\n%s", diff)
			}
			relative, err := filepath.Rel(dir, folder.Root)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tree(t, folder.Root), tree(t, archive.Root)); diff != "" {
				t.Errorf("%s: by tar -, by Open +:\n%s", relative, diff)
			}
			folder.Close()
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Errorf("Open or Close changed a user's folder:\n%s", diff)
			}
		})
	}
}

// TestOpenForWindows unpacks as on Windows, whose folders cannot hold every name and link.
func TestOpenForWindows(t *testing.T) {
	for name, file := range affinitytest.Captures(t) {
		t.Run(name, func(t *testing.T) {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			archive, err := decompress(f)
			if err != nil {
				t.Fatal(err)
			}
			machine, err := openUnpacked(archive, t.TempDir(), rootfs.Encoded)
			if err != nil {
				t.Fatal(err)
			}
			encoded, err := rootfs.Open(machine.Root, rootfs.Encoded)
			if err != nil {
				t.Fatal(err)
			}
			defer encoded.Close()
			native, err := rootfs.Open(openCapture(t, name, file).Root, rootfs.Native())
			if err != nil {
				t.Fatal(err)
			}
			defer native.Close()
			want := treeOf(t, native)
			if diff := cmp.Diff(want, treeOf(t, encoded)); diff != "" {
				t.Errorf("on this system -, as on Windows +:\n%s", diff)
			}
			for kept := range tree(t, machine.Root) {
				if strings.ContainsAny(kept, `<>:"|?*\`) {
					t.Errorf("%s is not a valid file name on Windows", kept)
				}
			}
		})
	}
}

func unpackWithTar(t *testing.T, file, dir string) {
	t.Helper()
	command, err := exec.LookPath("tar")
	if err != nil {
		nvmltest.Unavailable(t, "no tar: install the packages tar and bzip2")
	}
	if out, err := exec.Command(command, "-xf", file, "-C", dir).CombinedOutput(); err != nil {
		nvmltest.Unavailable(t,
			"tar cannot unpack "+file+" ("+string(out)+"): install the packages tar and bzip2")
	}
}

func TestWriteThenOpenGivesTheSameMachine(t *testing.T) {
	for name, file := range affinitytest.Captures(t) {
		t.Run(name, func(t *testing.T) {
			source := openCapture(t, name, file)
			archive := write(t, source.Root, []byte(`{"devices":[]}`))
			machine := openBytes(t, archive)
			want := readTopology(t, source.Root)
			if diff := cmp.Diff(want, readTopology(t, machine.Root)); diff != "" {
				t.Errorf("source -, capture +:\n%s", diff)
			}
			if got := string(machine.Inventory); got != `{"devices":[]}` {
				t.Errorf("inventory %q", got)
			}
			compareLocalities(t, source.Root, machine.Root)
			if !bytes.Equal(archive, write(t, source.Root, []byte(`{"devices":[]}`))) {
				t.Error("two captures of one machine differ")
			}
			if !bytes.Equal(archive, write(t, machine.Root, machine.Inventory)) {
				t.Error("a capture of what a capture holds differs from it")
			}
		})
	}
}

// compareLocalities compares all devices. Those of the classes that are kept, by their class files
// in the source, must be equal, and the others must not be in the capture.
func compareLocalities(t *testing.T, source, captured string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(source, pciDir, "*", "class"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		class, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		kept := slices.Contains([]string{"0x02", "0x03", "0x12"}, string(class[:4])) ||
			string(class[:6]) == "0x0b40"
		address := filepath.Base(filepath.Dir(file))
		want, err := affinity.ReadLocality(source, address)
		if err != nil {
			t.Fatal(err)
		}
		got, err := affinity.ReadLocality(captured, address)
		if (err == nil) != kept {
			t.Errorf("%s of class %s: %v", address, class, err)
		}
		if diff := cmp.Diff(want, got); kept && diff != "" {
			t.Errorf("source -, capture +:\n%s", diff)
		}
		wantPath, _ := filepath.EvalSymlinks(filepath.Dir(file))
		wantPath, _ = filepath.Rel(source, wantPath)
		gotPath, _ := filepath.EvalSymlinks(filepath.Join(captured, pciDir, address))
		gotPath, _ = filepath.Rel(captured, gotPath)
		if kept && wantPath != gotPath {
			t.Errorf("%s is at %s, in the capture at %s", address, wantPath, gotPath)
		}
	}
}

func unzipped(t *testing.T, archive []byte) []byte {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
