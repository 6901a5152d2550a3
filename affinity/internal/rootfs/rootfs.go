// Package rootfs keeps the files of a Linux machine in a folder of any system: what a captured
// machine is unpacked to and read from.
//
// Names are those of the machine, relative to its root and with slashes: "sys/devices/system/cpu".
// Nothing outside the folder is read or written, whatever the names and links say: an [os.Root]
// sees to that.
//
// Linux and macOS can hold such files as they are. Windows cannot, see [Encoded].
package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Layout is how files are kept in the folder.
type Layout int

const (
	// Plain keeps every file under its own name, and links as symbolic links.
	Plain Layout = iota
	// Encoded is for Windows. No file name there may hold a colon, which every PCI address does,
	// and making a symbolic link takes a privilege. See encoded.go for what takes their place.
	Encoded
)

// Native returns the layout for the system that this program runs on.
func Native() Layout {
	if runtime.GOOS == "windows" {
		return Encoded
	}
	return Plain
}

// FS is the files of a machine in a folder. It is not safe for concurrent use.
//
// [fs.WalkDir] can walk it. Unlike other implementations of [fs.FS] it accepts names with "..", as
// long as they do not lead out of the folder.
type FS struct {
	root   *os.Root
	layout Layout
	links  map[string]string // for Encoded: see readLinkFile
}

// Open returns the files in a folder. The caller closes it.
func Open(dir string, layout Layout) (*FS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &FS{root: root, layout: layout, links: map[string]string{}}, nil
}

// Close closes the folder. Windows cannot remove a folder that is open.
func (f *FS) Close() error { return f.root.Close() }

// Dir returns the folder, as it was given to [Open].
func (f *FS) Dir() string { return f.root.Name() }

// Path returns where a file is on this system, below [FS.Dir]. No part of its name may be a link.
func (f *FS) Path(name string) string {
	if f.layout == Encoded {
		name = encode(name)
	}
	return filepath.Join(f.root.Name(), filepath.FromSlash(name))
}

// Open opens a file for reading. It does not wait for the other end of a pipe.
func (f *FS) Open(name string) (fs.File, error) {
	place, err := f.follow("open", name, true)
	if err != nil {
		return nil, err
	}
	file, err := f.root.OpenFile(place, os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return nil, err // not file, which would be a non-nil interface
	}
	return file, nil
}

// ReadRegular returns the content of a regular file that has at most so many bytes.
func (f *FS) ReadRegular(name string, most int64) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, pathError("read", name, errors.New("is not a regular file"))
	}
	content, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > most {
		return nil, pathError("read", name, fmt.Errorf("is larger than %d bytes", most))
	}
	return content, nil
}

// ReadDir returns the entries of a folder, sorted by name.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	place, err := f.follow("readdir", name, true)
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(f.root.FS(), place)
	if f.layout == Encoded && err == nil {
		return decodeEntries(entries)
	}
	return entries, err
}

// Stat describes a file; if it is a link, what the link leads to.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	place, err := f.follow("stat", name, true)
	if err != nil {
		return nil, err
	}
	return f.root.Stat(place)
}

// Lstat describes a file or a link.
func (f *FS) Lstat(name string) (fs.FileInfo, error) {
	place, err := f.follow("lstat", name, false)
	if err != nil {
		return nil, err
	}
	if f.layout == Plain {
		return f.root.Lstat(place)
	}
	if f.isLink(place) {
		place += linkMark
	}
	info, err := f.root.Lstat(place)
	if err != nil {
		return nil, err
	}
	return decodedInfo{info}, nil
}

// ReadLink returns the text of a link.
func (f *FS) ReadLink(name string) (string, error) {
	place, err := f.follow("readlink", name, false)
	if err != nil {
		return "", err
	}
	if f.layout == Encoded && f.isLink(place) {
		return f.readLinkFile(place), nil
	}
	target, err := f.root.Readlink(place)
	return filepath.ToSlash(target), err
}

// MkdirAll makes a folder, and those around it, for this user alone.
func (f *FS) MkdirAll(name string) error {
	place, err := f.follow("mkdir", name, true)
	if err != nil {
		return err
	}
	return f.root.MkdirAll(place, 0o700)
}

// Create makes a file that is not there yet, for this user alone. It does not follow a link of that
// name.
func (f *FS) Create(name string) (*os.File, error) {
	place, err := f.follow("create", name, false)
	if err == nil && f.layout == Encoded && f.isLink(place) {
		err = pathError("create", name, fs.ErrExist)
	}
	if err != nil {
		return nil, err
	}
	return f.root.OpenFile(place, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// Symlink makes a link that is not there yet. The text may lead anywhere; following it out of the
// folder fails.
func (f *FS) Symlink(target, name string) error {
	place, err := f.follow("symlink", name, false)
	if err != nil {
		return err
	}
	if f.layout == Encoded {
		return f.makeLinkFile(target, place)
	}
	return f.root.Symlink(target, place)
}

// follow returns where name is below the folder. The layout Plain leaves links to the system.
func (f *FS) follow(op, name string, last bool) (string, error) {
	if f.layout == Plain {
		return name, nil
	}
	place, err := f.followLinkFiles(name, last)
	if err != nil {
		return "", pathError(op, name, err)
	}
	return place, nil
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}
