package rootfs

import (
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// eachLayout runs a test on an empty folder in each layout, of which Encoded works on every system.
func eachLayout(t *testing.T, test func(t *testing.T, files *FS)) {
	for name, layout := range map[string]Layout{"native": Native(), "encoded": Encoded} {
		t.Run(name, func(t *testing.T) {
			files, err := Open(t.TempDir(), layout)
			if err != nil {
				t.Fatal(err)
			}
			defer files.Close()
			test(t, files)
		})
	}
}

// add makes a file or, if the content begins with an arrow, a link.
func add(t *testing.T, files *FS, name, content string) {
	t.Helper()
	if err := files.MkdirAll(path.Dir(name)); err != nil {
		t.Fatal(err)
	}
	if target, isLink := strings.CutPrefix(content, "→"); isLink {
		if err := files.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
		return
	}
	file, err := files.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(content); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

var tree = map[string]string{
	"sys/devices/pci0000:16/0000:16:01.0/class": "0x060400",
	"sys/bus/pci/devices/0000:16:01.0":          "→../../../devices/pci0000:16/0000:16:01.0",
	"sys/class/net/up":                          "→../../bus/pci/devices/0000:16:01.0/..",
	"sys/chain":                                 "→class/net/up/0000:16:01.0",
	"sys/nowhere":                               "→a/b",
	"sys/loop":                                  "→loop/x",
	"sys/absolute":                              "→/sys/devices",
	"sys/out":                                   "→../../sys",
	"sys/out through a link":                    "→class/net/up/../../../..",
	"sys/top":                                   "→..",
}

func TestLinks(t *testing.T) {
	leadsOut := errors.New("leads out")
	eachLayout(t, func(t *testing.T, files *FS) {
		for name, content := range tree {
			add(t, files, name, content)
		}
		for name, want := range map[string]error{
			"sys/devices/pci0000:16/0000:16:01.0/class":             nil,
			"sys/bus/pci/devices/0000:16:01.0/class":                nil,
			"sys/class/net/up/0000:16:01.0/class":                   nil,
			"sys/chain/class":                                       nil,
			"sys/top/sys/chain/class":                               nil,
			"sys/bus/pci/devices/0000:16:01.0/../../x":              fs.ErrNotExist,
			"sys/bus/pci/devices/0000:16:01.0/../../../chain/class": nil,
			"sys/nowhere":            fs.ErrNotExist,
			"sys/nowhere/class":      fs.ErrNotExist,
			"sys/loop":               syscall.ELOOP,
			"sys/absolute":           leadsOut,
			"sys/out":                leadsOut,
			"sys/out through a link": leadsOut,
			"sys/top/..":             leadsOut,
			"../x":                   leadsOut,
			"/sys/chain/class":       leadsOut,
		} {
			content, err := files.ReadRegular(name, 100)
			_, statErr := files.Stat(name)
			for _, err := range []error{err, statErr} {
				known := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP)
				if want == leadsOut && (err == nil || known) || want != leadsOut &&
					!errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", name, err, want)
				}
			}
			if want == nil && string(content) != "0x060400" {
				t.Errorf("%s: %q", name, content)
			}
		}
		for name, content := range tree {
			target, err := files.ReadLink(name)
			want, isLink := strings.CutPrefix(content, "→")
			if isLink && (err != nil || target != want) || !isLink && err == nil {
				t.Errorf("the link %s is %q, %v, want %q", name, target, err, want)
			}
			info, err := files.Lstat(name)
			if err != nil || info.Name() != path.Base(name) ||
				(info.Mode().Type() == fs.ModeSymlink) != isLink {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		}
	})
}

func TestWalk(t *testing.T) {
	want := []string{".", "proc", "proc/c", "sys", "sys/a", "sys/b.", "sys/devices",
		"sys/devices/0000:16:01.0",
		"sys/devices/0000:16:01.0/class", "sys/link"}
	eachLayout(t, func(t *testing.T, files *FS) {
		for _, name := range []string{"sys/devices/0000:16:01.0/class", "sys/a", "sys/b.",
			"proc/c"} {
			add(t, files, name, "x")
		}
		add(t, files, "sys/link", "→a")
		var got []string
		err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
			if got = append(got, name); (entry.Type() == fs.ModeSymlink) != (name == "sys/link") {
				t.Errorf("%s is a %v", name, entry.Type())
			}
			return err
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %q, want %q", err, got, want)
		}
	})
}

// TestNothingIsReplaced makes everything in the place of everything.
func TestNothingIsReplaced(t *testing.T) {
	makers := map[string]func(files *FS) error{
		"file": func(files *FS) error {
			file, err := files.Create("x")
			if err == nil {
				file.Close()
			}
			return err
		},
		"link":   func(files *FS) error { return files.Symlink("y", "x") },
		"folder": func(files *FS) error { return files.MkdirAll("x/z") },
	}
	for before, makeBefore := range makers {
		for after, makeAfter := range makers {
			if before == "folder" && after == "folder" {
				continue
			}
			t.Run(before+" then "+after, func(t *testing.T) {
				eachLayout(t, func(t *testing.T, files *FS) {
					if err := makeBefore(files); err != nil {
						t.Fatal(err)
					}
					was, err := files.Lstat("x")
					if err != nil {
						t.Fatal(err)
					}
					// A folder that a link leads to may be made, but not in the link's place.
					if err := makeAfter(files); err == nil && after != "folder" {
						t.Error("no error")
					}
					if is, err := files.Lstat("x"); err != nil || is.Mode() != was.Mode() {
						t.Errorf("%v became %v, %v", was, is, err)
					}
				})
			})
		}
	}
}

func TestPath(t *testing.T) {
	eachLayout(t, func(t *testing.T, files *FS) {
		add(t, files, "0000:16:01.0/host ./class", "x")
		below, err := Open(files.Path("0000:16:01.0/host ."), files.layout)
		if err != nil {
			t.Fatal(err)
		}
		defer below.Close()
		if content, err := below.ReadRegular("class", 1); err != nil || string(content) != "x" {
			t.Errorf("%q, %v", content, err)
		}
		if _, err := below.ReadRegular("class", 0); err == nil {
			t.Error("a file of one byte has none")
		}
		if _, err := files.ReadRegular(".", 100); err == nil {
			t.Error("a folder is a regular file")
		}
		if files.Path(".") != filepath.Clean(files.Dir()) {
			t.Errorf("%s is not %s", files.Path("."), files.Dir())
		}
	})
}

// FuzzEncode checks that a name has one form on Windows, which Windows takes, and that this stands
// for the name.
func FuzzEncode(f *testing.F) {
	for _, name := range []string{"0000:1b:00.0", "a.", "a ", ". .", "...", `<>:"|?*\`, "a>", "a\n",
		"ä", ""} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		private := func(r rune) bool { return r >= privateUse && r < privateUse+0x80 }
		if name == "." || name == ".." || strings.Contains(name, "/") ||
			strings.ContainsFunc(name, private) ||
			strings.ToValidUTF8(name, "") != name {
			return
		}
		kept := encode(name)
		if strings.ContainsAny(kept, `<>:"|?*\`+"\n") || strings.HasSuffix(kept, ".") ||
			strings.HasSuffix(kept, " ") {
			t.Errorf("%q is kept as %q", name, kept)
		}
		if back, isLink := decode(kept); back != name || isLink {
			t.Errorf("%q is kept as %q, which stands for %q, %v", name, kept, back, isLink)
		}
		if back, isLink := decode(kept + linkMark); back != name || !isLink {
			t.Errorf("the link %q is read as %q, %v", name, back, isLink)
		}
	})
}
