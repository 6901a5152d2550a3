package gpu

import (
	"fmt"
	"slices"
	"strings"
)

// chooseByUUID reads a list of entries that begin with prefix. lookUp finds the device of an
// entry, or returns the reason why there is none. Entries are not trimmed: one with a blank before
// the prefix is of another kind, and ends the list.
func chooseByUUID(
	entries []string, prefix string, lookUp func(entry string) (c choice, problem string),
) ([]choice, *cutoff) {
	end := slices.IndexFunc(entries, func(s string) bool { return !strings.HasPrefix(s, prefix) })
	if end < 0 {
		end = len(entries)
	}
	if entry, ok := firstRepeated(entries[:end]); ok {
		return nil, namedTwice(entry)
	}
	var chosen []choice
	for _, entry := range entries[:end] {
		c, problem := lookUp(entry)
		if problem != "" {
			return chosen, stopAt(entry, "%s, because %s; correct or remove it",
				quoted(entry), problem)
		}
		if slices.ContainsFunc(chosen, c.sameAs) {
			return nil, namedTwice(entry)
		}
		chosen = append(chosen, c)
	}
	if end < len(entries) {
		return chosen, stopAt(entries[end], "%s, because it does not begin with %s "+
			"as the first entry does; correct or remove it", quoted(entries[end]), prefix)
	}
	return chosen, nil
}

func namedTwice(entry string) *cutoff {
	return ignoreAll("%s names a device for the second time; name each device once",
		quoted(entry))
}

// firstRepeated returns the first entry that is equal to one before it.
func firstRepeated(entries []string) (string, bool) {
	seen := make(map[string]bool, len(entries))
	for _, entry := range entries {
		if seen[entry] {
			return entry, true
		}
		seen[entry] = true
	}
	return "", false
}

// gpuByUUID finds the only GPU whose UUID begins with the entry.
func (inv Inventory) gpuByUUID(entry string) (c choice, problem string) {
	var found []choice
	unknown := 0
	for _, d := range inv.Devices {
		if strings.HasPrefix(d.UUID, entry) {
			found = append(found, choice{device: d, id: d.UUID})
		}
		if d.UUID == "" {
			unknown++
		}
	}
	switch {
	case len(found) == 1:
		return found[0], ""
	case len(found) > 1:
		return choice{}, fmt.Sprintf("%d GPUs have a UUID that begins with it", len(found))
	case unknown > 0:
		return choice{}, fmt.Sprintf("no GPU is known to have this UUID (unknown UUIDs: %d)",
			unknown)
	default:
		return choice{}, "no GPU has this UUID"
	}
}

// migByUUID finds the MIG instance with this UUID or this legacy name.
func (inv Inventory) migByUUID(entry string) (c choice, problem string) {
	for _, d := range inv.Devices {
		for i := range d.MIGInstances {
			m := &d.MIGInstances[i]
			if m.UUID == entry || (d.UUID != "" && legacyName(d, *m) == entry) {
				return choice{device: d, instance: m}, ""
			}
		}
	}
	if inv.Source != SourceNVML {
		return choice{}, "only NVML knows MIG instances, and it is not in use here"
	}
	return choice{}, "there is no such MIG instance"
}

// legacyName returns the name that drivers before R470 give to a MIG instance. Later drivers still
// accept it.
func legacyName(d Device, m MIGInstance) string {
	if m.GPUInstance == nil || m.ComputeInstance == nil {
		return ""
	}
	return fmt.Sprintf("MIG-%s/%d/%d", d.UUID, *m.GPUInstance, *m.ComputeInstance)
}
