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
	entries int   // including the folders that names imply
	name    int   // bytes in a name or in a link's target; Linux's PATH_MAX
	depth   int   // folders in a name
	file    int64 // bytes in a file
	total   int64 // bytes in the uncompressed archive, and in all files together
}

// maximum is more than any capture needs: one of 1024 CPUs has about 45,000 entries, and real ones
// have no files over 64 KiB.
var maximum = limits{entries: 200_000, name: 4096, depth: 64, file: 8 << 20, total: 256 << 20}

// limitError is the error for an archive that exceeds a limit.
type limitError struct{ what string }

func (e limitError) Error() string {
	return "it has more than " + e.what + ", which no capture needs; " +
		"make it again from sys and proc only"
}

func errTooManyBytes(bytes int64) error {
	return limitError{fmt.Sprintf("%d bytes unpacked", bytes)}
}

// refused returns the error for an entry that no capture needs. The reason goes on after the
// entry's name.
func refused(name, reason string) error {
	return fmt.Errorf("cannot unpack it safely: the entry %s %s; get it from someone you trust, "+
		"or make it again from sys and proc only", quoted(name), reason)
}

// quoted returns text from an archive as a quoted string that fits into a line.
func quoted(text string) string {
	const maxBytes = 120
	if len(text) > maxBytes {
		return strconv.Quote(text[:maxBytes]) + "…"
	}
	return strconv.Quote(text)
}

// unpacker writes an archive below a folder. Its checks are there to tell the user what is wrong.
// That nothing is written outside of the folder does not depend on them; the root sees to that.
type unpacker struct {
	root  *rootfs.FS
	limit limits
	total int64
	kinds map[string]byte // the tar types of what has been unpacked, by clean name
}

// endZeros is the number of zeros that end every tar archive (pax in POSIX.1-2017). If there are
// fewer, a part is missing.
const endZeros = 1024

// unpack reads a tar archive to its end, and writes its folders, files and symbolic links below
// root, which must be empty. If it fails, it leaves what it has written.
func unpack(in io.Reader, root *rootfs.FS, limit limits) error {
	whole := &limitedReader{in: in, limit: limit.total, remaining: limit.total}
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
		// One entry can imply many folders, but few enough that this check can wait for the next
		// entry.
		if n > limit.entries || len(u.kinds) > limit.entries {
			return limitError{fmt.Sprintf("%d entries", limit.entries)}
		}
		if err := u.add(header, archive); err != nil {
			return err
		}
	}
	// Compressed data ends with a checksum, so it has to be read to the end.
	if _, err := io.Copy(io.Discard, whole); err != nil {
		return readError(err)
	}
	if whole.zeros < endZeros {
		return damaged(io.ErrUnexpectedEOF)
	}
	return checkLinks(root, limit.entries)
}

// readError returns the error for an archive that cannot be read: it exceeds a limit, the system
// cannot read the file, or the content is damaged.
func readError(err error) error {
	var limit limitError
	switch {
	case err == nil || systemError(err) != nil:
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
	u.record(name, header.Typeflag)
	switch header.Typeflag {
	case tar.TypeDir:
		err = makeFolder(u.root, name)
	case tar.TypeSymlink:
		err = makeLink(u.root, name, header.Linkname)
	default:
		err = makeFile(u.root, name, content)
	}
	if cause := systemError(err); cause != nil {
		return fmt.Errorf("cannot unpack the entry %s: %w", quoted(name), cause)
	}
	return err
}

// systemError returns what is wrapped in an error that names a file, because such a name comes from
// the archive and may contain anything. For other errors it returns nil.
func systemError(err error) error {
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

// check returns an entry's clean name, and an error if no capture needs such an entry.
func (u *unpacker) check(header *tar.Header) (string, error) {
	if len(header.Name) > u.limit.name || len(header.Linkname) > u.limit.name {
		reason := fmt.Sprintf("has a name or link of more than %d bytes", u.limit.name)
		return "", refused(header.Name, reason)
	}
	name, err := u.checkName(header.Name)
	if err != nil {
		return "", err
	}
	if err := u.checkPlace(name, header); err != nil {
		return "", err
	}
	switch header.Typeflag {
	case tar.TypeDir:
	case tar.TypeSymlink:
		if problem := linkProblem(name, header.Linkname); problem != "" {
			return "", refused(header.Name, problem)
		}
	case tar.TypeReg:
		if header.Size > u.limit.file {
			return "", refused(header.Name, fmt.Sprintf("has more than %d MiB", u.limit.file>>20))
		}
		// The archive's own size is no bound, because it has only a part of a sparse file.
		if u.total += header.Size; u.total > u.limit.total {
			return "", errTooManyBytes(u.limit.total)
		}
	default:
		reason := "is " + kindName(header.Typeflag) + ", not a file, folder or symbolic link"
		return "", refused(header.Name, reason)
	}
	return name, nil
}

// checkName returns a clean name, and an error if no capture has such a name.
func (u *unpacker) checkName(original string) (string, error) {
	if original == "" || path.IsAbs(original) || strings.Contains("/"+original+"/", "/../") {
		return "", refused(original, "is not a path below the top of the archive")
	}
	// Package io/fs does not accept every name that Linux does.
	unprintable := func(r rune) bool { return r == utf8.RuneError || !strconv.IsPrint(r) }
	if strings.ContainsFunc(original, unprintable) {
		return "", refused(original, "has unprintable characters in its name")
	}
	name := path.Clean(original)
	parts := strings.Split(name, "/")
	tooLong := func(part string) bool { return len(part) > 255 }
	if len(parts) > u.limit.depth || slices.ContainsFunc(parts, tooLong) {
		reason := fmt.Sprintf("is more than %d folders deep or has a part of more than 255 bytes",
			u.limit.depth)
		return "", refused(original, reason)
	}
	return name, nil
}

// checkPlace refuses an entry in the place of another one, unless both are folders, and an entry
// below one that is not a folder.
func (u *unpacker) checkPlace(name string, header *tar.Header) error {
	before, twice := u.kinds[name]
	if twice && (before != tar.TypeDir || header.Typeflag != tar.TypeDir) {
		return refused(header.Name, "is in the place of another one")
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if kind, ok := u.kinds[dir]; ok && kind != tar.TypeDir {
			return refused(header.Name, "is below an entry that is not a folder")
		}
	}
	return nil
}

// record records an entry and the folders that it is in.
func (u *unpacker) record(name string, kind byte) {
	u.kinds[name] = kind
	for dir := path.Dir(name); u.kinds[dir] == 0; dir = path.Dir(dir) {
		u.kinds[dir] = tar.TypeDir
	}
}

// linkProblem returns what is wrong with a link, or "" if nothing is.
func linkProblem(name, target string) string {
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

// The archive's modes are ignored: nobody else should read what is unpacked, and nobody should
// execute any of it.

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
