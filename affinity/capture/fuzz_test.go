package capture

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity/internal/rootfs"
)

// fuzzLimits are small, so that a round is fast.
var fuzzLimits = limits{entries: 50, name: 4096, depth: 16, file: 4096, total: 1 << 20}

// FuzzUnpack unpacks arbitrary bytes, as they are and compressed. Whatever they are, it must not
// panic, nothing may be written outside of the root, no more than the limits inside, and no link
// may lead out.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x1f\x8b"))
	f.Add([]byte("BZh91AY&SY"))
	f.Add(tarOf(f, folder("sys"), online, link("sys/x", "devices/system")))
	f.Add(tarOf(f, link("a", "b"), link("b", "."), link("c", "a/../x")))
	f.Add(gzipped(f, tarOf(f, online)))
	for _, test := range hostile {
		if archive := tarOf(f, test.entries...); len(archive) < 1<<14 {
			f.Add(archive)
		}
	}
	f.Fuzz(func(t *testing.T, archive []byte) {
		fuzzUnpack(t, archive)
		if len(archive) < 1<<16 {
			fuzzUnpack(t, gzipped(t, archive))
		}
	})
}

func fuzzUnpack(t *testing.T, archive []byte) {
	for _, layout := range layouts {
		fuzzUnpackTo(t, archive, layout)
	}
}

func fuzzUnpackTo(t *testing.T, archive []byte, layout rootfs.Layout) {
	root, unchanged := guarded(t, layout)
	in, err := decompress(bytes.NewReader(archive))
	if err == nil {
		err = unpack(in, root, fuzzLimits)
	}
	unchanged()
	if err != nil && strings.ContainsAny(err.Error(), "\n\r\x1b") {
		t.Errorf("the error has several lines: %q", err)
	}
	entries := 0
	walkErr := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, walkErr error) error {
		if walkErr != nil {
			return walkErr
		}
		info, statErr := entry.Info()
		switch entries++; {
		case statErr != nil:
			return statErr
		case info.Mode().IsRegular() && info.Size() > fuzzLimits.file:
			t.Errorf("%q has %d bytes", name, info.Size())
		case !info.Mode().IsRegular() && !info.IsDir() && info.Mode().Type() != fs.ModeSymlink:
			t.Errorf("%q is a %v", name, info.Mode())
		}
		if _, statErr := root.Stat(name); err == nil && !staysInside(statErr) {
			t.Errorf("%q leads out: %v", name, statErr)
		}
		return nil
	})
	if walkErr != nil {
		t.Error(walkErr)
	}
	// The last entry may imply as many folders as its name can hold.
	if entries > fuzzLimits.entries+fuzzLimits.depth+1 {
		t.Errorf("%d entries", entries)
	}
}

// FuzzEntries unpacks well-formed archives of three entries, which FuzzUnpack rarely has.
func FuzzEntries(f *testing.F) {
	const link, regular, folder = byte(tar.TypeSymlink), byte(tar.TypeReg), byte(tar.TypeDir)
	const hardLink, device, pipe = byte(tar.TypeLink), byte(tar.TypeChar), byte(tar.TypeFifo)
	f.Add("a", link, "..", "a/b", regular, "x", "a", folder, "")
	f.Add("sys/devices", folder, "", "l", link, "sys/devices", "x", link, "l/../../..")
	f.Add("../x", regular, "x", "/x", regular, "x", "y", hardLink, "../sentinel")
	f.Add("x", pipe, "", "x", device, "", "", byte(tar.TypeXGlobalHeader), "")
	f.Add("0\xff", folder, "", "\xff", regular, "x", "l", link, "\xff")
	f.Fuzz(func(
		t *testing.T, name1 string, kind1 byte, text1 string,
		name2 string, kind2 byte, text2 string, name3 string, kind3 byte, text3 string,
	) {
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		for _, header := range []tar.Header{
			{Name: name1, Typeflag: kind1, Linkname: text1},
			{Name: name2, Typeflag: kind2, Linkname: text2},
			{Name: name3, Typeflag: kind3, Linkname: text3},
		} {
			content := ""
			if header.Typeflag == tar.TypeReg {
				content, header.Linkname = header.Linkname, ""
				header.Size = int64(len(content))
			}
			if w.WriteHeader(&header) != nil {
				return // the writer refuses such an entry
			}
			if _, err := w.Write([]byte(content)); err != nil {
				return
			}
		}
		if err := w.Close(); err != nil {
			return
		}
		fuzzUnpack(t, archive.Bytes())
	})
}
