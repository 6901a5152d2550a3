package capture

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"github.com/gpulaunch/gpulaunch/affinity/internal/rootfs"
)

// Machine is a captured machine, ready to be read.
type Machine struct {
	// Root is the folder that holds the machine's sys tree. It is for affinity.ReadTopology and
	// other functions that take a root folder. It is an absolute path, and never the root of the
	// machine that the program runs on.
	Root string
	// Inventory is the document about the machine's GPUs (gpulaunch.json), or nil if there is none.
	// Whoever made the capture wrote it, so it is not to be trusted.
	Inventory []byte
	// Close removes what Open unpacked. It may be called more than once.
	Close func()
}

// Open opens a captured machine: an archive that [Write] wrote, any other tar archive of a sys
// tree, or a folder. The archive may be compressed with gzip or bzip2, which Open recognizes by the
// content. The sys tree is at the top or up to four levels below.
//
// An archive is unpacked into a new folder that only this user can enter. Close removes the folder;
// a process that is killed leaves it in the system's folder for temporary files. Open refuses what
// no capture needs: names and links that lead out of the archive, hard links, devices, entries in
// the place of another one or below a link, more than 200,000 entries, files over 8 MiB, and more
// than 256 MiB in all. It ignores file modes, so nothing is executable or has special bits. On
// Windows, some names and all links are kept in another form, which functions that take Root
// understand.
//
// A folder is used as it is, and never written to. Open refuses it if a link in it leads out of it,
// because package affinity follows links. It cannot prevent that somebody who may write to the
// folder adds such a link later.
//
// Every error is one line that names the path and says what is wrong with it and what to do.
func Open(name string) (*Machine, error) {
	m, err := open(name)
	if err != nil {
		return nil, fmt.Errorf("cannot use %s as a captured machine: %w", strconv.Quote(name), err)
	}
	return m, nil
}

func open(name string) (*Machine, error) {
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("there is no such file or folder; check the path")
	case err != nil:
		return nil, fmt.Errorf("%w; check the path", err)
	case info.IsDir():
		return openFolder(name)
	case info.Mode().IsRegular():
		return openArchive(name)
	}
	return nil, errors.New("it is neither a file nor a folder; save it to a file first")
}

func openArchive(name string) (*Machine, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	archive, err := decompress(f)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gpulaunch-capture")
	if err != nil {
		return nil, err
	}
	remove := func() { os.RemoveAll(dir) }
	m, err := openUnpacked(archive, dir, rootfs.Native())
	if err != nil {
		remove()
		return nil, err
	}
	m.Close = remove
	return m, nil
}

func openUnpacked(archive io.Reader, dir string, layout rootfs.Layout) (*Machine, error) {
	root, err := rootfs.Open(dir, layout)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if err := unpack(archive, root, maximum); err != nil {
		return nil, err
	}
	return findMachine(root)
}

func openFolder(name string) (*Machine, error) {
	dir, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil && real == "/" {
		return nil, errors.New("it is the machine that this runs on; leave the option out to " +
			"plan for this one")
	}
	root, err := rootfs.Open(dir, rootfs.Native())
	if err != nil {
		return nil, err
	}
	defer root.Close()
	m, err := findMachine(root)
	if err != nil {
		return nil, err
	}
	// No link may lead out of the machine's own folder, which may be below the given one.
	own, err := rootfs.Open(m.Root, rootfs.Native())
	if err != nil {
		return nil, err
	}
	defer own.Close()
	if err := checkLinks(own, maximum.entries); err != nil {
		return nil, err
	}
	m.Close = func() {}
	return m, nil
}

// findMachine returns the machine whose sys tree is in a folder, with the inventory beside it.
func findMachine(root *rootfs.FS) (*Machine, error) {
	dir, err := findSys(root)
	if err != nil {
		return nil, err
	}
	inventory, err := readInventory(root, path.Join(dir, inventoryName))
	if err != nil {
		return nil, err
	}
	absolute, err := filepath.Abs(root.Path(dir))
	if err != nil {
		return nil, err
	}
	return &Machine{Root: absolute, Inventory: inventory}, nil
}

// The search for the sys tree goes this many levels down, and looks into this many folders.
const (
	sysLevels  = 4
	sysFolders = 10_000
)

// findSys returns the folder that holds a sys tree with CPUs. It searches level by level, and fails
// if it finds several on one level.
func findSys(root *rootfs.FS) (string, error) {
	files := machine{root}
	level := []string{"."}
	seen := 0
	for depth := 0; depth <= sysLevels && seen <= sysFolders; depth++ {
		var found, next []string
		for _, dir := range level {
			if files.isFolder(path.Join(dir, cpuDir)) {
				found = append(found, dir)
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return "", fmt.Errorf("it holds several machines, in %s and %s; give one of these "+
				"folders", quoted(found[0]), quoted(found[1]))
		}
		for _, dir := range level {
			next = append(next, files.folders(dir)...)
			if seen = len(next); seen > sysFolders {
				break
			}
		}
		level = next
	}
	return "", fmt.Errorf("it holds no %s, at its top or up to %d levels below; give a capture, "+
		"or an archive or folder with the sys tree of a machine", cpuDir, sysLevels)
}

// folders returns the paths of the folders in a folder. It leaves out links.
func (m machine) folders(dir string) []string {
	entries, err := m.root.ReadDir(dir)
	if err != nil {
		return nil
	}
	var folders []string
	for _, entry := range entries {
		if entry.IsDir() {
			folders = append(folders, path.Join(dir, entry.Name()))
		}
	}
	return folders
}

// readInventory returns the inventory document, or nil if there is none.
func readInventory(root *rootfs.FS, name string) ([]byte, error) {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maximum.file {
		return nil, fmt.Errorf("its %s is not a file of at most %d MiB; remove it",
			inventoryName, maximum.file>>20)
	}
	return root.ReadRegular(name, maximum.file)
}
