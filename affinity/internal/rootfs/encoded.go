package rootfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// The layout Encoded replaces each character that Windows does not accept in a file name with one
// in Unicode's private use area, 0xf000 above it, as Cygwin and the Linux subsystem of Windows do.
// A link is a small file that holds the link's text. Its name is that of the link, followed by
// linkMark. Names that Windows reserves for devices, such as NUL, cannot be used.

const (
	privateUse = 0xf000
	// no name has a slash, so no name is encoded to this
	linkMark = string(rune(privateUse + '/'))
	maxLink  = 4096 // bytes in a link's text: Linux's PATH_MAX
	maxLinks = 40   // on one path, as in Linux (path_resolution(7))
)

var errEscapes = errors.New("the path leads out of its root folder")

// encode returns the form in which a name is kept. It does not change slashes.
func encode(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = encodePart(part)
	}
	return strings.Join(parts, "/")
}

func encodePart(part string) string {
	if part == "." || part == ".." {
		return part
	}
	encoded := strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`<>:"|?*\`, r) {
			return privateUse + r
		}
		return r
	}, part)
	// Windows drops a dot or a space at the end of a name.
	if last := len(encoded) - 1; last >= 0 && (encoded[last] == '.' || encoded[last] == ' ') {
		return encoded[:last] + string(rune(privateUse)+rune(encoded[last]))
	}
	return encoded
}

// decode returns the name that a kept name stands for, and whether it is that of a link.
func decode(kept string) (name string, isLink bool) {
	kept, isLink = strings.CutSuffix(kept, linkMark)
	return strings.Map(func(r rune) rune {
		if r >= privateUse && r < privateUse+0x80 {
			return r - privateUse
		}
		return r
	}, kept), isLink
}

// followLinkFiles returns where name is kept, with the links on the way followed; with last also a
// link at its end.
func (f *FS) followLinkFiles(name string, last bool) (string, error) {
	if name == "" || path.IsAbs(name) {
		return "", errEscapes
	}
	place := "."
	parts := strings.Split(name, "/")
	for links := 0; len(parts) > 0; {
		part := parts[0]
		parts = parts[1:]
		if part == ".." && place == "." {
			return "", errEscapes
		}
		next := path.Join(place, encodePart(part))
		if part == "" || part == "." || part == ".." || !f.isLink(next) || len(parts) == 0 &&
			!last {
			place = next
			continue
		}
		target := f.readLinkFile(next)
		if path.IsAbs(target) {
			return "", errEscapes
		}
		if links++; links > maxLinks {
			return "", syscall.ELOOP
		}
		parts = slices.Concat(strings.Split(target, "/"), parts)
	}
	return place, nil
}

func (f *FS) isLink(place string) bool { return f.readLinkFile(place) != "" }

// readLinkFile returns the text of the link at a place, "" when there is no link. It remembers the
// answer, because every path goes through the same few folders.
func (f *FS) readLinkFile(place string) string {
	if target, ok := f.links[place]; ok {
		return target
	}
	target := ""
	if file, err := f.root.Open(place + linkMark); err == nil {
		text, err := io.ReadAll(io.LimitReader(file, maxLink))
		file.Close()
		if err == nil {
			target = string(text)
		}
	}
	f.links[place] = target
	return target
}

func (f *FS) makeLinkFile(target, place string) error {
	if _, err := f.root.Lstat(place); err == nil {
		return pathError("symlink", place, fs.ErrExist)
	}
	file, err := f.root.OpenFile(place+linkMark, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(file, target)
	f.links[place] = target
	return errors.Join(err, file.Close())
}

// decodedInfo describes a file under the name that its kept name stands for.
type decodedInfo struct{ fs.FileInfo }

func (i decodedInfo) Name() string {
	name, _ := decode(i.FileInfo.Name())
	return name
}

func (i decodedInfo) Mode() fs.FileMode {
	if _, isLink := decode(i.FileInfo.Name()); isLink {
		return fs.ModeSymlink | 0o777
	}
	return i.FileInfo.Mode()
}

func decodeEntries(kept []fs.DirEntry) ([]fs.DirEntry, error) {
	entries := make([]fs.DirEntry, len(kept))
	for i, entry := range kept {
		info, err := entry.Info()
		if err != nil {
			return nil, err
		}
		entries[i] = fs.FileInfoToDirEntry(decodedInfo{info})
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int {
		return strings.Compare(a.Name(), b.Name())
	})
	return entries, nil
}
