package capture

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gpulaunch/gpulaunch/affinity/internal/rootfs"
)

// limits bound what is unpacked.
type limits struct {
	entries int   // with the folders that names imply
	name    int   // bytes in a name or a link's target: Linux's PATH_MAX
	depth   int   // folders in a name
	file    int64 // bytes
	total   int64 // bytes of the archive without its compression, and of all files
}

// maximum leaves room: a capture of 1024 CPUs has some 45,000 entries, and no real one has a file over 64 KiB.
var maximum = limits{entries: 200_000, name: 4096, depth: 64, file: 8 << 20, total: 256 << 20}

// tooMuch is the error for an archive that goes over a limit.
type tooMuch struct{ what string }

func (e tooMuch) Error() string {
	return "it has more than " + e.what + ", as no capture does; make it anew, of sys and proc only"
}

func errTooMuch(bytes int64) error {
	return tooMuch{fmt.Sprintf("%d bytes unpacked", bytes)}
}

// refused is the error for an entry that no capture needs.
func refused(name, why string) error {
	return fmt.Errorf("refusing to unpack it: the entry %s %s; get it from someone you trust, or make it anew of sys and proc only", quoted(name), why)
}

// quoted returns text from an archive fit for a line.
func quoted(text string) string {
	const most = 120
	if len(text) > most {
		return strconv.Quote(text[:most]) + "…"
	}
	return strconv.Quote(text)
}

// unpacker writes an archive below a folder. The checks see to it that the user is told what is wrong; that nothing is
// written outside is the root's work, and does not depend on them.
type unpacker struct {
	root  *rootfs.FS
	limit limits
	total int64
	kinds map[string]byte // what is there, by clean name: the type as in tar
}

// endZeros is the length of the mark at the end of every tar archive (pax in POSIX.1-2017), without which a part is
// missing.
const endZeros = 1024

// unpack reads a tar archive to its end and writes its folders, files and symbolic links below root, which must be empty.
// What it has written before an error stays there.
func unpack(in io.Reader, root *rootfs.FS, limit limits) error {
	whole := &bounded{in: in, left: limit.total, most: limit.total}
	archive := tar.NewReader(whole)
	u := unpacker{root: root, limit: limit, kinds: map[string]byte{".": tar.TypeDir}}
	for n := 1; ; n++ {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return readError(err)
		}
		// One entry can imply many folders, but not so many that the check may not wait for the next entry.
		if n > limit.entries || len(u.kinds) > limit.entries {
			return tooMuch{fmt.Sprintf("%d entries", limit.entries)}
		}
		if err := u.add(header, archive); err != nil {
			return err
		}
	}
	// To the end, because the checksum of compressed data stands there.
	if _, err := io.Copy(io.Discard, whole); err != nil {
		return readError(err)
	}
	if whole.zeros < endZeros {
		return damaged(io.ErrUnexpectedEOF)
	}
	return checkLinks(root, limit.entries)
}

// readError tells damage apart from a limit and from a file that cannot be read.
func readError(err error) error {
	var limit tooMuch
	switch {
	case err == nil || cause(err) != nil:
		return err
	case errors.As(err, &limit):
		return limit
	}
	return damaged(err)
}

func (u *unpacker) add(header *tar.Header, content io.Reader) error {
	if header.Typeflag == tar.TypeXGlobalHeader { // a comment that git archive writes
		return nil
	}
	name, err := u.check(header)
	if err != nil || u.kinds[name] == tar.TypeDir {
		return err
	}
	u.note(name, header.Typeflag)
	switch header.Typeflag {
	case tar.TypeDir:
		err = makeFolder(u.root, name)
	case tar.TypeSymlink:
		err = makeLink(u.root, name, header.Linkname)
	default:
		err = makeFile(u.root, name, content)
	}
	if why := cause(err); why != nil {
		return fmt.Errorf("cannot unpack the entry %s: %w", quoted(name), why)
	}
	return err
}

// cause returns the system's error out of one that names a file, nil if it is none: such a name comes from the archive
// and may hold anything.
func cause(err error) error {
	var file *fs.PathError
	if errors.As(err, &file) {
		return file.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	return nil
}

// check returns an entry's clean name, and an error for everything that no capture needs.
func (u *unpacker) check(header *tar.Header) (string, error) {
	if len(header.Name) > u.limit.name || len(header.Linkname) > u.limit.name {
		return "", refused(header.Name, fmt.Sprintf("has a name or link of more than %d bytes", u.limit.name))
	}
	if header.Name == "" || path.IsAbs(header.Name) || strings.Contains("/"+header.Name+"/", "/../") {
		return "", refused(header.Name, "is not a path below the top of the archive")
	}
	// Not every name that Linux takes is one for package io/fs.
	if strings.ContainsFunc(header.Name, func(r rune) bool { return r == utf8.RuneError || !strconv.IsPrint(r) }) {
		return "", refused(header.Name, "has other than printable characters in its name")
	}
	name := path.Clean(header.Name)
	parts := strings.Split(name, "/")
	if len(parts) > u.limit.depth || slices.ContainsFunc(parts, func(part string) bool { return len(part) > 255 }) {
		return "", refused(header.Name, fmt.Sprintf("is more than %d folders deep or has a part of more than 255 bytes", u.limit.depth))
	}
	if err := u.checkPlace(name, header); err != nil {
		return "", err
	}
	switch header.Typeflag {
	case tar.TypeDir:
	case tar.TypeSymlink:
		if why := badTarget(name, header.Linkname); why != "" {
			return "", refused(header.Name, why)
		}
	case tar.TypeReg:
		if header.Size > u.limit.file {
			return "", refused(header.Name, fmt.Sprintf("has more than %d MiB", u.limit.file>>20))
		}
		// A sparse file is larger than what the archive has of it.
		if u.total += header.Size; u.total > u.limit.total {
			return "", errTooMuch(u.limit.total)
		}
	default:
		return "", refused(header.Name, "is no file, folder or symbolic link but "+kindName(header.Typeflag))
	}
	return name, nil
}

// checkPlace refuses an entry in the place of another, except for a folder that is there twice, and one below a link or
// a file.
func (u *unpacker) checkPlace(name string, header *tar.Header) error {
	before, twice := u.kinds[name]
	if twice && (before != tar.TypeDir || header.Typeflag != tar.TypeDir) {
		return refused(header.Name, "is in the place of another one")
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if kind, ok := u.kinds[dir]; ok && kind != tar.TypeDir {
			return refused(header.Name, "lies below what is no folder")
		}
	}
	return nil
}

// note remembers an entry and the folders around it.
func (u *unpacker) note(name string, kind byte) {
	u.kinds[name] = kind
	for dir := path.Dir(name); u.kinds[dir] == 0; dir = path.Dir(dir) {
		u.kinds[dir] = tar.TypeDir
	}
}

func badTarget(name, target string) string {
	switch {
	case target == "":
		return "is a link to nothing"
	case path.IsAbs(target):
		return "is a link to an absolute path, " + quoted(target)
	}
	if to := path.Join(path.Dir(name), target); to == ".." || strings.HasPrefix(to, "../") {
		return "is a link out of the archive, to " + quoted(target)
	}
	return ""
}

func kindName(kind byte) string {
	switch kind {
	case tar.TypeLink:
		return "a hard link"
	case tar.TypeChar, tar.TypeBlock:
		return "a device"
	case tar.TypeFifo:
		return "a pipe"
	}
	return "of type " + strconv.QuoteRune(rune(kind))
}

// The archive's modes are not used: nobody else is to read what is unpacked, and nothing of it is to be executed.

func makeFolder(root *rootfs.FS, name string) error { return root.MkdirAll(name) }

func makeLink(root *rootfs.FS, name, target string) error {
	if err := makeFolder(root, path.Dir(name)); err != nil {
		return err
	}
	return root.Symlink(target, name)
}

func makeFile(root *rootfs.FS, name string, content io.Reader) error {
	if err := makeFolder(root, path.Dir(name)); err != nil {
		return err
	}
	f, err := root.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if closeErr := f.Close(); err == nil {
		return closeErr
	}
	return readError(err)
}
