package capture

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/affinity/internal/rootfs"
)

// inventoryName is the archive's file about GPUs, which is beside sys.
const inventoryName = "gpulaunch.json"

// Write writes a compressed tar archive of the machine below root, where "" is the live one. The
// archive holds what package affinity reads about the machine's CPUs, NUMA nodes and devices, what
// the GPU driver says about its GPUs and, unless it is nil, the inventory document as
// gpulaunch.json. Write does not change the document, so its author has to leave out what
// identifies the machine.
//
// Two archives of one machine are equal byte for byte: the entries are sorted, and have neither
// times nor owners.
//
// Files that cannot be read are left out; package affinity treats what they would say as unknown.
// Write fails if the machine has no CPUs or if w fails.
func Write(w io.Writer, root string, inventory []byte) error {
	topology, err := affinity.ReadTopology(root)
	if err != nil {
		return err
	}
	folder, err := rootfs.Open(cmp.Or(root, "/"), rootfs.Native())
	if err != nil {
		return err
	}
	defer folder.Close()
	from := machine{folder}
	to := archive{}
	to.addListed(from)
	to.addAllowed(root, topology)
	to.addDriver(from)
	newDevices(from, to).add()
	if inventory != nil {
		to.addFile(inventoryName, string(inventory))
	}
	if err := to.write(w); err != nil {
		return fmt.Errorf("cannot write the capture: %w", err)
	}
	return nil
}

// entry is a file, a symbolic link or, with neither, a folder.
type entry struct {
	content *string
	target  string
}

// archive is the entries to be written, by their clean relative paths.
type archive map[string]entry

func (a archive) addFile(name, content string) { a.add(name, entry{content: &content}) }

func (a archive) addFolder(name string) { a.add(name, entry{}) }

func (a archive) addLink(name, target string) { a.add(name, entry{target: target}) }

// add adds an entry and the folders that it is in.
func (a archive) add(name string, e entry) {
	a[name] = e
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, ok := a[dir]; ok {
			return
		}
		a[dir] = entry{}
	}
}

func (a archive) write(w io.Writer) error {
	zip := gzip.NewWriter(w)
	out := tar.NewWriter(zip)
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if err := a[name].write(out, name); err != nil {
			return err
		}
	}
	if err := out.Close(); err != nil {
		return err
	}
	return zip.Close()
}

func (e entry) write(out *tar.Writer, name string) error {
	// Links into deep PCI trees are longer than the 100 bytes that older formats than PAX have for
	// them.
	header := tar.Header{Format: tar.FormatPAX, Name: name}
	content := ""
	switch {
	case e.target != "":
		header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, e.target, 0o777
	case e.content != nil:
		content = *e.content
		header.Typeflag, header.Size, header.Mode = tar.TypeReg, int64(len(content)), 0o644
	default:
		header.Typeflag, header.Name, header.Mode = tar.TypeDir, name+"/", 0o755
	}
	if err := out.WriteHeader(&header); err != nil {
		return err
	}
	_, err := io.WriteString(out, content)
	return err
}
