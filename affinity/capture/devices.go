package capture

import (
	"cmp"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

const (
	pciDir  = "sys/bus/pci/devices"
	rdmaDir = "sys/class/infiniband"
)

// pattern returns a function that compiles a regular expression on first use. Every gpulaunch
// process initializes this package, and few of them use it.
func pattern(s string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(s) })
}

// pciClass matches the classes of PCI devices that go into an archive, because workers may use them
// or should be near them: network controllers, display and 3D controllers, co-processors,
// InfiniBand controllers of the older class, and accelerators (PCI Code and ID Assignment
// Specification).
var pciClass = pattern(`^0x(02|03|0b40|0c06|12)`)

var (
	pciFiles  = []string{"class", "vendor", "device", "numa_node", "local_cpus", "local_cpulist"}
	portFiles = []string{"state", "phys_state", "link_layer", "rate"}
)

// genericName matches names in a device's path that do not identify the machine: PCI addresses and
// host bridges, ACPI names, and some words. Other names may do so. For example, devices on
// Hyper-V's bus are named by GUIDs, and the GUID of a network card begins with its MAC address.
var genericName = pattern(`^(` +
	`[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|pci[0-9a-f]{4,8}:[0-9a-f]{2}|` +
	`[A-Z]{3,4}[0-9A-F]{4}:[0-9a-f]{2}|LNXSYSTM:00|LNXSYBUS:00|platform|soc|virtual|infiniband)$`)

// genericRDMA matches names of RDMA devices that do not identify the machine: those that the
// kernel's drivers give, and those that udev makes from a device's place (net_id and rdma_rename in
// udev). A name that udev makes from a device's GUID does not match.
var genericRDMA = pattern(`^(` +
	`(mlx[45]|mlx5_bond|mthca|bnxt_re|cxgb4|efa|erdma|hfi1|hns|i40iw|ionic|irdma|mana|` +
	`ocrdma|qedr|qib|usnic|vmw_pvrdma)_?[0-9]{1,3}|(rxe|siw)_?[0-9]{1,3}|` +
	`(ib|iw|opa|roce|usnic)(P[0-9]{1,5})?(p[0-9]{1,3}s[0-9]{1,3}|s[0-9]{1,5}|o[0-9]{1,5})` +
	`(f[0-9])?(d[0-9]{1,3})?)$`)

// devices adds the PCI devices and RDMA devices of a machine to an archive.
type devices struct {
	from     machine
	to       archive
	newNames map[string]string // what stands for a name in the archive, by that name
}

func newDevices(from machine, to archive) *devices {
	return &devices{from, to, map[string]string{}}
}

func (d *devices) add() {
	for _, address := range d.from.names(pciDir) {
		dir, ok := d.resolve(pciDir + "/" + address)
		if ok && pciClass().MatchString(d.from.value(dir+"/class")) {
			d.addPCI(address, dir)
		}
	}
	for _, name := range d.from.names(rdmaDir) {
		d.addRDMA(name)
	}
}

// resolve returns the folder that a name in a bus or class folder stands for. It is what the name
// links to or, in captures without links, what has that name. It goes by the link's text only,
// because in sysfs no link is on the way to a device.
func (d *devices) resolve(name string) (string, bool) {
	target, err := d.from.root.ReadLink(name)
	if err != nil {
		return name, d.from.isFolder(name)
	}
	dir := path.Join(path.Dir(name), target)
	return dir, !path.IsAbs(target) && strings.HasPrefix(dir, "sys/") && d.from.isFolder(dir)
}

func (d *devices) addPCI(address, dir string) {
	if !isPCI(address) {
		return
	}
	to := d.anonymousPath(dir)
	d.to.addFolder(to)
	d.link(pciDir+"/"+address, to)
	d.to.addFiles(d.from, dir, to, pciFiles)
}

func (d *devices) addRDMA(name string) {
	dir, ok := d.resolve(rdmaDir + "/" + name)
	if !ok {
		return
	}
	newName := d.anonymous(name, genericRDMA(), "rdma")
	to := path.Join(d.anonymousPath(path.Dir(dir)), newName)
	d.to.addFolder(to)
	d.link(rdmaDir+"/"+newName, to)
	for _, port := range d.from.match(dir + "/ports/#") {
		newPort := to + "/ports/" + path.Base(port)
		d.to.addFolder(newPort)
		d.to.addFiles(d.from, port, newPort, portFiles)
	}
	// This is the folder of the device that the RDMA device belongs to, which usually is a PCI
	// device.
	if parent, ok := d.resolve(dir + "/device"); ok && parent != dir+"/device" {
		d.addPCI(path.Base(parent), parent)
		d.to.addFolder(d.anonymousPath(parent))
		d.link(to+"/device", d.anonymousPath(parent))
	}
}

// link adds a link from name to another path in the archive, unless they are the same. As in sysfs,
// the link's text always ends in the name of what it leads to, even if that is a folder further up:
// package affinity reads a device's address from the text.
func (d *devices) link(name, to string) {
	if name == to {
		return
	}
	d.to.addLink(name, relative(path.Dir(name), path.Dir(to))+"/"+path.Base(to))
}

// relative returns the path from one folder to another, both of which are clean paths in the
// archive. It is filepath.Rel with slashes on every system.
func relative(from, to string) string {
	steps, target := strings.Split(from, "/"), strings.Split(to, "/")
	for len(steps) > 0 && len(target) > 0 && steps[0] == target[0] {
		steps, target = steps[1:], target[1:]
	}
	return cmp.Or(path.Join(strings.Repeat("../", len(steps)), path.Join(target...)), ".")
}

// anonymousPath returns where the folder of a device is in the archive.
func (d *devices) anonymousPath(dir string) string {
	rest, ok := strings.CutPrefix(dir, "sys/devices/")
	if !ok {
		return dir
	}
	parts := strings.Split(rest, "/")
	for i, part := range parts {
		parts[i] = d.anonymous(part, genericName(), "device")
	}
	return "sys/devices/" + path.Join(parts...)
}

// anonymous returns the name itself if it is a known form, and otherwise a new name of the given
// kind with a number. It always returns the same new name for the same name.
func (d *devices) anonymous(name string, known *regexp.Regexp, kind string) string {
	if known.MatchString(name) {
		return name
	}
	if d.newNames[name] == "" {
		d.newNames[name] = kind + strconv.Itoa(len(d.newNames))
	}
	return d.newNames[name]
}
