package capture

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gpulaunch/gpulaunch/affinity/affinitytest"
	"github.com/gpulaunch/gpulaunch/affinity/internal/rootfs"
)

// online is what an archive of a machine must have.
var online = tar.Header{Name: cpuDir + "/cpu0/topology/core_id", Linkname: "0\n"}

func link(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
}

func file(name, content string) tar.Header { return tar.Header{Name: name, Linkname: content} }

func folder(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir} }

// with returns the entries of a machine and others.
func with(others ...tar.Header) []tar.Header { return append([]tar.Header{online}, others...) }

var hostile = map[string]struct {
	entries []tar.Header
	words   string // of the error
}{
	"name with ..": {
		with(file("../sentinel", "broken")), `"../sentinel" is not a path below`,
	},
	"name with .. inside": {
		with(file("sys/../../sentinel", "broken")), "is not a path below",
	},
	"name that goes and returns": {with(file("sys/../sys/x", "broken")), "is not a path below"},
	"absolute name":              {with(file("/sentinel", "broken")), "is not a path below"},
	"folder ..":                  {with(folder("../d/")), "is not a path below"},
	"absolute link": {
		with(link("sys/x", "/etc/passwd")),
		`is a link to an absolute path, "/etc/passwd"`,
	},
	"link out": {
		with(link("sys/x", "../../sentinel")),
		`is a link out of the archive, to "../../sentinel"`,
	},
	"link to the folder above": {with(link("x", "..")), "is a link out of the archive"},
	"empty link":               {with(link("sys/x", "")), "is a link to nothing"},
	"link out through a link": {
		with(link("deep/er/top", "../.."), link("sys/x", "../deep/er/top/../sentinel")),
		`it has the link "sys/x"`,
	},
	"link out through a later link": {
		with(link("sys/x", "../deep/er/top/../sentinel"), link("deep/er/top", "../..")),
		`it has the link "sys/x"`,
	},
	"file through a link": {
		with(link("sys/x", ".."), file("sys/x/y", "broken")),
		"is below an entry that is not a folder",
	},
	"folder below a file": {
		with(file("sys/x", ""), folder("sys/x/y/z")),
		"is below an entry that is not a folder",
	},
	"folder turned to a link": {
		with(folder("sys/x"), link("sys/x", ".."), file("sys/x/y", "broken")),
		"is in the place of another",
	},
	"link turned to a file": {
		with(link("sys/x", "y"), file("sys/x", "broken")),
		"is in the place of another",
	},
	"file twice":               {with(online), "is in the place of another"},
	"file in place of the top": {with(file(".", "x")), "is in the place of another"},
	"hard link": {
		with(tar.Header{Name: "x", Typeflag: tar.TypeLink, Linkname: "../sentinel"}),
		"is a hard link, not",
	},
	"character device": {
		with(tar.Header{Name: "x", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 5}),
		"is a device, not",
	},
	"block device": {
		with(tar.Header{Name: "x", Typeflag: tar.TypeBlock, Devmajor: 8}),
		"is a device, not",
	},
	"pipe": {with(tar.Header{Name: "x", Typeflag: tar.TypeFifo}), "is a pipe, not"},
	"socket, as cpio numbers it": {
		with(tar.Header{Name: "x", Typeflag: 'Q'}),
		"is of type 'Q', not",
	},
	"long name": {
		with(file(strings.Repeat("a/", 2049)+"a", "")), "of more than 4096 bytes",
	},
	"long link": {
		with(link("x", strings.Repeat("a/", 2049))), "of more than 4096 bytes",
	},
	"long part of a name": {with(file(strings.Repeat("a", 256), "")), "more than 255 bytes"},
	"deep name": {
		with(file(strings.Repeat("a/", 64)+"a", "")), "more than 64 folders deep",
	},
	"large file":            {with(file("x", strings.Repeat("a", 8<<20+1))), "has more than 8 MiB"},
	"control characters":    {with(file("../\n\x1b[2J", "")), `"../\n\x1b[2J" is not a path`},
	"name of no characters": {with(file("sys/\xff", "")), "unprintable characters"},
	"name with a new line":  {with(file("sys/a\nb", "")), "unprintable characters"},
	"no machine": {
		[]tar.Header{file("sys/x", "")}, "it holds no sys/devices/system/cpu",
	},
	"too deep a machine": {
		[]tar.Header{file("1/2/3/4/5/"+online.Name, "0\n")},
		"up to 4 levels below",
	},
	"two machines": {
		[]tar.Header{file("a/"+online.Name, ""), file("b/"+online.Name, "")},
		`several machines, in "a" and "b"`,
	},
	"inventory is a link": {with(link(inventoryName, "sys")), "its gpulaunch.json is not a file"},
}

func TestOpenRefusesHostileArchives(t *testing.T) {
	for name, test := range hostile {
		for _, zipped := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				archive := tarOf(t, test.entries...)
				if zipped {
					archive = gzipped(t, archive)
				}
				refuse(t, archive, test.words)
			})
		}
	}
}

// refuse checks that an archive cannot be opened, that the error has these words, that nothing is
// left behind, and that nothing else has changed.
func refuse(t *testing.T, archive []byte, words string) {
	t.Helper()
	name := saved(t, archive)
	dir := t.TempDir()
	sentinel := filepath.Join(dir, "sentinel")
	if err := os.WriteFile(sentinel, []byte("whole"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	machine, err := Open(name)
	if err == nil {
		machine.Close()
		t.Fatal("it opens")
	}
	affinitytest.WantError(t, "opening it", err, words)
	affinitytest.WantError(t, "opening it", err, name)
	if after := tree(t, dir); len(after) != 1 || after["sentinel"] != "whole" {
		t.Errorf("the folder for temporary files has %q", after)
	}
	refuseEncoded(t, archive, words)
}

// refuseEncoded checks that an archive cannot be unpacked as on Windows either.
func refuseEncoded(t *testing.T, archive []byte, words string) {
	t.Helper()
	root, unchanged := guarded(t, rootfs.Encoded)
	plain, err := decompress(bytes.NewReader(archive))
	if err == nil {
		_, err = openUnpacked(plain, root.Dir(), rootfs.Encoded)
	}
	affinitytest.WantError(t, "unpacking it as on Windows", err, words)
	unchanged()
}

func TestOpenRefusesWhatIsDamaged(t *testing.T) {
	plain := tarOf(t, online, file("sys/x", strings.Repeat("x", 5000)))
	zipped := gzipped(t, plain)
	wrong := slices.Clone(zipped)
	wrong[len(wrong)-6] ^= 1 // in the checksum
	for name, test := range map[string]struct {
		archive []byte
		words   string
	}{
		"cut tar":          {plain[:3000], "damaged"},
		"cut header":       {plain[:600], "damaged"},
		"cut gzip":         {zipped[:len(zipped)-20], "damaged"},
		"gzip without end": {zipped[:len(zipped)-8], "damaged"},
		"gzip header only": {zipped[:5], "damaged"},
		"wrong checksum":   {wrong, "checksum"},
		"cut bzip2":        {[]byte("BZh91AY&SY"), "damaged"},
		"no tar": {
			[]byte(strings.Repeat("no archive ", 200)), "damaged or not a tar archive",
		},
		"cut between entries": {plain[:1024], "damaged"},
		"cut in the end mark": {plain[:len(plain)-512], "damaged"},
		"nothing":             {nil, "damaged"},
		"xz":                  {[]byte("\xfd7zXZ\x00rest"), "unpack it first: xz -d"},
		"zstd":                {[]byte("\x28\xb5\x2f\xfdrest"), "unpack it first: zstd -d"},
		"zip":                 {[]byte("PK\x03\x04rest"), "unzip"},
		"gzip in a gzip":      {gzipped(t, zipped), "damaged or not a tar archive"},
		"compressed by xz?": {
			gzipped(t, []byte("\xfd7zXZ\x00rest")), "damaged or not a tar archive",
		},
	} {
		t.Run(name, func(t *testing.T) { refuse(t, test.archive, test.words) })
	}
}

// A gzip file may consist of several, so a small one can have content of any size.
func TestOpenStopsAtABomb(t *testing.T) {
	member := gzipped(t, make([]byte, 1<<20))
	head := gzipped(t, tarOf(t, online))
	refuse(t, append(head, bytes.Repeat(member, 300)...), "more than 268435456 bytes unpacked")
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestUnpackIsBounded(t *testing.T) {
	limit := limits{entries: 12, name: 100, depth: 8, file: 10_000, total: 11_000}
	var many, implied, sum []tar.Header
	for _, letter := range "abcdefghijklm" {
		many = append(many, folder(string(letter)))
		sum = append(sum, file(string(letter), strings.Repeat("x", 1000)))
	}
	for _, letter := range "abcdefghijkl" {
		implied = append(implied, file(string(letter)+"/1/2/3/4", ""))
	}
	for name, test := range map[string]struct {
		archive io.Reader
		words   string
	}{
		"entries":         {bytes.NewReader(tarOf(t, many...)), "more than 12 entries"},
		"implied folders": {bytes.NewReader(tarOf(t, implied...)), "more than 12 entries"},
		"same entry": {
			bytes.NewReader(tarOf(t, slices.Repeat(many[:1], 13)...)), "more than 12 entries",
		},
		"file": {
			bytes.NewReader(tarOf(t, file("x", strings.Repeat("x", 10_001)))), "has more than",
		},
		"bytes": {bytes.NewReader(tarOf(t, sum[:8]...)), "more than 11000 bytes"},
		"after the end": {
			io.MultiReader(bytes.NewReader(tarOf(t, sum[0])), endless{}), "more than 11000 bytes",
		},
		"endless": {endless{}, "more than 11000 bytes"},
		"sparse":  {bytes.NewReader(sparse(t, 9999, 4)), "more than 11000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			root, err := rootfs.Open(t.TempDir(), rootfs.Plain)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			err = unpack(test.archive, root, limit)
			affinitytest.WantError(t, "unpacking it", err, test.words)
			// It stops at the limit, except for the folders that one entry implies.
			if made := len(tree(t, root.Dir())); made > limit.entries+limit.depth {
				t.Errorf("%d entries before the refusal", made)
			}
		})
	}
	t.Run("the most that is possible", func(t *testing.T) {
		root, err := rootfs.Open(t.TempDir(), rootfs.Plain)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		if err := unpack(bytes.NewReader(tarOf(t, sum[:6]...)), root, limit); err != nil {
			t.Error(err)
		}
	})
}

// sparse returns an archive of files that have size bytes, none of which is stored (GNU's sparse
// format 0.1).
func sparse(t *testing.T, size, files int) []byte {
	t.Helper()
	var headers []tar.Header
	for i := range files {
		headers = append(headers, tar.Header{
			Name: string(rune('a' + i)),
			PAXRecords: map[string]string{
				"GNU.sparze.major": "0", "GNU.sparze.minor": "1",
				"GNU.sparze.numblocks": "0", "GNU.sparze.size": strconv.Itoa(size),
			},
		})
	}
	// The writer refuses the real names. No checksum covers them, so they can be put in afterwards.
	return bytes.ReplaceAll(tarOf(t, headers...), []byte("GNU.sparze"), []byte("GNU.sparse"))
}

func gzipped(t testing.TB, content []byte) []byte {
	t.Helper()
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return zipped.Bytes()
}

// Bits that make a program run as another user are dropped, and so are execute bits. A mode of 0
// does not lock us out.
func TestOpenDropsModes(t *testing.T) {
	setuid, locked := online, folder("locked/")
	setuid.Mode, locked.Mode = 0o6777, 0o1000
	machine := openBytes(t, tarOf(t, locked, file("locked/x", "x"), setuid))
	for name, want := range map[string]os.FileMode{
		online.Name: 0o600, "locked": 0o700 | os.ModeDir, "": 0o700 | os.ModeDir,
	} {
		info, err := os.Stat(filepath.Join(machine.Root, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%q has mode %v, want %v", name, info.Mode(), want)
		}
	}
}

// Real archives have entries that are odd but harmless.
func TestOpenTakesWhatTarMakes(t *testing.T) {
	comment := tar.Header{
		Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"},
	}
	machine := openBytes(t, tarOf(t,
		comment, folder("./"), folder("./host/"), folder("host"),
		file("./host/"+online.Name, "0\n"), file("host/"+inventoryName, "{}"),
		link("host/loop", "loop"), link("host/nowhere", "a/../b"), link("host/up", "../host/sys")))
	if filepath.Base(machine.Root) != "host" || string(machine.Inventory) != "{}" {
		t.Errorf("root %s, inventory %q", machine.Root, machine.Inventory)
	}
	machine.Close()
	machine.Close()
	if _, err := os.Stat(filepath.Dir(machine.Root)); !os.IsNotExist(err) {
		t.Errorf("Close has left %s (%v)", filepath.Dir(machine.Root), err)
	}
}

func TestOpenRefusesOtherPaths(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	makePipe(t, pipe)
	for name, words := range map[string]string{
		filepath.Join(dir, "missing"): "there is no such file",
		pipe:                          "neither a file nor a folder",
		"/":                           "the machine that this runs on",
		dir:                           "it holds no sys/devices/system/cpu",
		"":                            "there is no such file",
	} {
		if _, err := Open(name); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: error %v, want %s", name, err, words)
		}
	}
}

func TestOpenRefusesFolderWithLinksOut(t *testing.T) {
	for name, links := range map[string][2]string{
		"absolute":             {"sys/x", "/etc"},
		"relative":             {"sys/x", "../../outside"},
		"above the machine":    {"sys/x", "../../beside"},
		"to the machine's own": {"sys/x", "../../machine/sys"},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			dir := filepath.Join(top, "machine")
			for _, folder := range []string{
				filepath.Join(dir, cpuDir, "cpu0"), filepath.Join(top, "beside"),
			} {
				if err := os.MkdirAll(folder, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Symlink("nowhere", filepath.Join(dir, "sys/harmless")); err != nil {
				t.Fatal(err)
			}
			machine, err := Open(top)
			if err != nil {
				t.Fatal(err)
			}
			if machine.Root != dir {
				t.Errorf("root %s, want %s", machine.Root, dir)
			}
			if err := os.Symlink(links[1], filepath.Join(dir, links[0])); err != nil {
				t.Fatal(err)
			}
			_, err = Open(top)
			affinitytest.WantError(t, "opening it", err, `it has the link "`+links[0]+`"`)
		})
	}
}

// layouts are the ways to keep files in a folder: the one for Linux and macOS, and the one for
// Windows.
var layouts = []rootfs.Layout{rootfs.Plain, rootfs.Encoded}

// TestRootHoldsWithoutTheChecks calls what unpacks entries without the checks. Nothing may be
// written outside of the root.
func TestRootHoldsWithoutTheChecks(t *testing.T) {
	file := func(name string) func(*rootfs.FS) error {
		return func(root *rootfs.FS) error {
			return makeFile(root, name, strings.NewReader("broken"))
		}
	}
	folder := func(name string) func(*rootfs.FS) error {
		return func(root *rootfs.FS) error { return makeFolder(root, name) }
	}
	link := func(name string) func(*rootfs.FS) error {
		return func(root *rootfs.FS) error { return makeLink(root, name, "x") }
	}
	for name, unpackEntry := range map[string]func(root *rootfs.FS) error{
		"file ..":     file("../sentinel"),
		"new file ..": file("../new"),
		"absolute file": func(root *rootfs.FS) error {
			return file(root.Dir() + "/../new")(root)
		},
		"folder ..":         folder("a/../../new"),
		"link ..":           link("../new"),
		"file over a link":  throughLink("../sentinel", file("link")),
		"file below a link": throughLink("..", file("link/new")),
		"file below an absolute link": func(root *rootfs.FS) error {
			return throughLink(filepath.Dir(root.Dir()), file("link/new"))(root)
		},
		"folder below a link": throughLink("..", folder("link/new/new")),
		"link below a link":   throughLink("..", link("link/new")),
	} {
		for _, layout := range layouts {
			t.Run(name, func(t *testing.T) {
				root, unchanged := guarded(t, layout)
				if err := unpackEntry(root); err == nil {
					t.Error("no error")
				}
				unchanged()
			})
		}
	}
}

// throughLink makes a link and then does something else.
func throughLink(target string, then func(*rootfs.FS) error) func(*rootfs.FS) error {
	return func(root *rootfs.FS) error {
		if err := makeLink(root, "link", target); err != nil {
			return nil // which fails the test
		}
		return then(root)
	}
}

// guarded returns a root with a sentinel beside it, and a function that checks that nothing beside
// it has changed.
func guarded(t testing.TB, layout rootfs.Layout) (*rootfs.FS, func()) {
	t.Helper()
	top := t.TempDir()
	dir := filepath.Join(top, "root")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(top, "sentinel"), []byte("whole"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := rootfs.Open(dir, layout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, func() {
		t.Helper()
		entries, err := os.ReadDir(top)
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(filepath.Join(top, "sentinel"))
		if err != nil || string(content) != "whole" || len(entries) != 2 {
			t.Errorf("beside the root there are %v, and the sentinel is %q (%v)",
				entries, content, err)
		}
	}
}
