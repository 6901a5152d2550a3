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

// pattern compiles on first use: every gpulaunch has this package, and few use it.
func pattern(s string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(s) })
}

// pciClass is the start of the class of PCI devices that a worker may have or be near to: network controllers, display
// and 3D controllers, co-processors, InfiniBand controllers of the older class, accelerators (PCI Code and ID Assignment
// Specification).
var pciClass = pattern(`^0x(02|03|0b40|0c06|12)`)

var (
	pciFiles  = []string{"class", "vendor", "device", "numa_node", "local_cpus", "local_cpulist"}
	portFiles = []string{"state", "phys_state", "link_layer", "rate"}
)

// plainName are the names in a device's path that say nothing about this one machine: PCI addresses and host bridges,
// ACPI names, and some words. Others may do so: a device on Hyper-V's bus is named by a GUID, and a network card's GUID
// there begins with its MAC address.
var plainName = pattern(`^([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|pci[0-9a-f]{4,8}:[0-9a-f]{2}|` +
	`[A-Z]{3,4}[0-9A-F]{4}:[0-9a-f]{2}|LNXSYSTM:00|LNXSYBUS:00|platform|soc|virtual|infiniband)$`)

// plainRDMA are the names of RDMA devices that the kernel's drivers give, and those that udev makes of a device's place
// (udev's net_id and rdma_rename). udev can also make a name of the device's GUID.
var plainRDMA = pattern(`^((mlx[45]|mlx5_bond|mthca|bnxt_re|cxgb4|efa|erdma|hfi1|hns|i40iw|ionic|irdma|mana|` +
	`ocrdma|qedr|qib|usnic|vmw_pvrdma)_?[0-9]{1,3}|(rxe|siw)_?[0-9]{1,3}|` +
	`(ib|iw|opa|roce|usnic)(P[0-9]{1,5})?(p[0-9]{1,3}s[0-9]{1,3}|s[0-9]{1,5}|o[0-9]{1,5})(f[0-9])?(d[0-9]{1,3})?)$`)

// devices adds the PCI devices and RDMA devices of a machine to an archive.
type devices struct {
	from    machine
	to      archive
	renamed map[string]string // by name: what stands for it in the archive
}

func newDevices(from machine, to archive) *devices {
	return &devices{from, to, map[string]string{}}
}

func (d *devices) add() {
	for _, address := range d.from.names(pciDir) {
		if dir, ok := d.resolve(pciDir + "/" + address); ok && pciClass().MatchString(d.from.value(dir+"/class")) {
			d.addPCI(address, dir)
		}
	}
	for _, name := range d.from.names(rdmaDir) {
		d.addRDMA(name)
	}
}

// resolve returns the folder that a name in a bus or class folder stands for: what it links to, or itself in captures
// without links. It goes by the link's text, as sysfs has no link on the way to a device.
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
	to := d.plainPath(dir)
	d.to.addFolder(to)
	d.link(pciDir+"/"+address, to)
	d.to.addFiles(d.from, dir, to, pciFiles)
}

func (d *devices) addRDMA(name string) {
	dir, ok := d.resolve(rdmaDir + "/" + name)
	if !ok {
		return
	}
	plain := d.plain(name, plainRDMA(), "rdma")
	to := path.Join(d.plainPath(path.Dir(dir)), plain)
	d.to.addFolder(to)
	d.link(rdmaDir+"/"+plain, to)
	for _, port := range d.from.match(dir + "/ports/#") {
		plainPort := to + "/ports/" + path.Base(port)
		d.to.addFolder(plainPort)
		d.to.addFiles(d.from, port, plainPort, portFiles)
	}
	// The device's own folder, mostly a PCI device's.
	if parent, ok := d.resolve(dir + "/device"); ok && parent != dir+"/device" {
		d.addPCI(path.Base(parent), parent)
		d.to.addFolder(d.plainPath(parent))
		d.link(to+"/device", d.plainPath(parent))
	}
}

// link adds a link between two paths in the archive, none from a folder to itself. Its text ends in the name of what it
// leads to, as in sysfs, also for a folder further up: a device's address is read from there.
func (d *devices) link(name, to string) {
	if name == to {
		return
	}
	d.to.addLink(name, relative(path.Dir(name), path.Dir(to))+"/"+path.Base(to))
}

// relative returns the way from one folder to another, both by their clean paths in the archive. On Windows
// filepath.Rel would give a path of that system.
func relative(from, to string) string {
	steps, target := strings.Split(from, "/"), strings.Split(to, "/")
	for len(steps) > 0 && len(target) > 0 && steps[0] == target[0] {
		steps, target = steps[1:], target[1:]
	}
	return cmp.Or(path.Join(strings.Repeat("../", len(steps)), path.Join(target...)), ".")
}

// plainPath returns where the folder of a device goes in the archive.
func (d *devices) plainPath(dir string) string {
	rest, ok := strings.CutPrefix(dir, "sys/devices/")
	if !ok {
		return dir
	}
	parts := strings.Split(rest, "/")
	for i, part := range parts {
		parts[i] = d.plain(part, plainName(), "device")
	}
	return "sys/devices/" + path.Join(parts...)
}

// plain returns the name itself if it is of a known form, and otherwise one of the given kind and a number, always the
// same for the same name.
func (d *devices) plain(name string, known *regexp.Regexp, kind string) string {
	if known.MatchString(name) {
		return name
	}
	if d.renamed[name] == "" {
		d.renamed[name] = kind + strconv.Itoa(len(d.renamed))
	}
	return d.renamed[name]
}
