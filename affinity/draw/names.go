package draw

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity"
	"github.com/gpulaunch/gpulaunch/launcher/plural"
	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// separator stands between the facts of a heading or of a line in the legend.
const separator = " · "

func packageName(id int) string {
	if id < 0 {
		return "Package"
	}
	return "Package " + strconv.Itoa(id)
}

func nodeName(id int) string { return "NUMA node " + strconv.Itoa(id) }

// heading returns the facts about a box, starting with the most important.
func (v *view) heading(b *box) []string {
	facts := slices.Clone(b.names)
	for _, i := range b.nodes {
		facts = append(facts, v.memory(v.topology.Nodes[i])...)
	}
	facts = append(facts, cpuList(v.cpusOf(b.cores)))
	if ranks := v.sharers(b.cores); len(ranks) > 0 {
		facts = append(facts, rankList(ranks))
	}
	return facts
}

// sharers returns the ranks of the workers that have some of these cores, if any core is shared:
// the mark of a shared core does not say whose it is.
func (v *view) sharers(cores coreSet) []int {
	var ranks []int
	shared := false
	for i := range cores.All() {
		owners := v.cells[i].owners
		shared = shared || len(owners) > 1
		for _, o := range owners {
			ranks = append(ranks, v.workers[o].Rank)
		}
	}
	if !shared {
		return nil
	}
	return ranks
}

// memory returns the size of a node's memory as a fact. A size of 0 means that the node has no
// memory only if the sizes of other nodes are known.
func (v *view) memory(node affinity.Node) []string {
	if node.MemoryBytes > 0 {
		return []string{terminal.ShortBytes(node.MemoryBytes)}
	}
	hasMemory := func(n affinity.Node) bool { return n.MemoryBytes > 0 }
	if !slices.ContainsFunc(v.topology.Nodes, hasMemory) {
		return nil
	}
	return []string{"no memory"}
}

// title returns the first line of a drawing.
func (v *view) title() string {
	t := v.topology
	all := t.Online.Union(t.Allowed)
	var facts []string
	for _, count := range []struct {
		n    int
		name string
	}{
		{len(t.Packages), "package"}, {len(t.Nodes), "NUMA node"}, {len(t.L3s), "L3 cache"},
		{v.cores, "core"}, {all.Len(), "CPU"},
	} {
		if count.n > 0 {
			facts = append(facts, plural.Of(count.n, "%d "+count.name, "%d "+count.name+"s"))
		}
	}
	if n := t.Allowed.Len(); n < all.Len() {
		facts = append(facts, fmt.Sprintf("%d allowed", n))
	}
	return strings.Join(facts, ", ")
}

// memoryNodeHeading returns the facts about a node without CPUs.
func (v *view) memoryNodeHeading(node affinity.Node) []string {
	facts := append([]string{nodeName(node.ID)}, v.memory(node)...)
	if near := v.nearest(node); len(near) > 0 {
		facts = append(facts, "nearest CPUs: "+idList("node", near))
	}
	return facts
}

// deviceFacts returns the facts about a device, without the ranks that use it.
func (v *view) deviceFacts(d Device) []string {
	var facts []string
	for _, s := range []string{d.Name, d.PCI} {
		if s != "" {
			facts = append(facts, s)
		}
	}
	if len(facts) == 0 {
		facts = append(facts, "device without a name")
	}
	node, known := v.node(d.Node)
	if !known && d.Node >= 0 {
		facts = append(facts, fmt.Sprintf("node %d, which the machine does not have", d.Node))
	}
	if !d.CPUs.IsEmpty() && !(known && d.CPUs.Equal(node.CPUs)) {
		facts = append(facts, "near "+cpuList(d.CPUs))
	}
	return facts
}

// cpuList returns "CPU 3" or "CPUs 0-3,8" for a set that is not empty.
func cpuList(set affinity.CPUSet) string {
	if set.Len() == 1 {
		return "CPU " + set.String()
	}
	return "CPUs " + set.String()
}

func rankList(ranks []int) string { return idList("rank", ranks) }

// idList returns numbers after a name, with runs abbreviated: "ranks 0-3, 8".
func idList(name string, ids []int) string {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var runs []string
	for i := 0; i < len(ids); {
		last := i
		for last+1 < len(ids) && ids[last+1] == ids[last]+1 {
			last++
		}
		run := strconv.Itoa(ids[i])
		if last > i {
			run += "-" + strconv.Itoa(ids[last])
		}
		runs = append(runs, run)
		i = last + 1
	}
	if len(ids) != 1 {
		name += "s"
	}
	return name + " " + strings.Join(runs, ", ")
}
