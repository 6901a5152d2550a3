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

// inventoryName is the file of the archive, beside sys, that holds the GPUs.
const inventoryName = "gpulaunch.json"

// Write writes a gzip'ed tar archive of the machine below root, "" for the live one: what package affinity reads of its
// CPUs, NUMA nodes and devices, what the GPU driver says of its GPUs, and the inventory document as gpulaunch.json
// unless it is nil. The document is written as it is, so its maker has to leave out what identifies the machine.
//
// Two archives of one machine are equal byte for byte: entries are sorted and have neither times nor owners.
//
// A file that cannot be read is left out, as package affinity takes it for unknown. It is an error when there are no
// CPUs, or when w fails.
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

// archive holds what is to be written, by clean relative path.
type archive map[string]entry

func (a archive) addFile(name, content string) { a.add(name, entry{content: &content}) }

func (a archive) addFolder(name string) { a.add(name, entry{}) }

func (a archive) addLink(name, target string) { a.add(name, entry{target: target}) }

// add adds an entry and the folders around it.
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
	// PAX, because links into deep PCI trees are longer than the 100 bytes of the older format.
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
