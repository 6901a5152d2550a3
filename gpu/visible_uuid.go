package gpu

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// chooseByUUID reads a list of GPU- or MIG- entries with the given way to look one up, which returns why it is none.
// Entries are not trimmed: a blank before one makes it another kind of entry, and so ends the list.
func chooseByUUID(entries []string, prefix string, lookUp func(string) (choice, string)) ([]choice, *ending) {
	end := slices.IndexFunc(entries, func(s string) bool { return !strings.HasPrefix(s, prefix) })
	if end < 0 {
		end = len(entries)
	}
	if twice, ok := repeated(entries[:end]); ok {
		return nil, namedTwice(twice)
	}
	var chosen []choice
	for _, entry := range entries[:end] {
		c, why := lookUp(entry)
		if why != "" {
			return chosen, &ending{entry, fmt.Sprintf("CUDA stops reading at %s, because %s; correct or remove it",
				quoted(entry), why)}
		}
		if slices.ContainsFunc(chosen, c.same) {
			return nil, namedTwice(entry)
		}
		chosen = append(chosen, c)
	}
	if end < len(entries) {
		return chosen, &ending{entries[end], fmt.Sprintf(
			"CUDA stops reading at %s, because it does not begin with %s as the first entry does; correct or remove it",
			quoted(entries[end]), prefix)}
	}
	return chosen, nil
}

func namedTwice(entry string) *ending {
	return &ending{"", fmt.Sprintf("CUDA shows no GPU at all, because %s names a device for the second time; name each one once",
		quoted(entry))}
}

func repeated(entries []string) (string, bool) {
	seen := make(map[string]bool, len(entries))
	for _, entry := range entries {
		if seen[entry] {
			return entry, true
		}
		seen[entry] = true
	}
	return "", false
}

// gpuByUUID finds the one GPU whose UUID begins with the entry.
func (inv Inventory) gpuByUUID(entry string) (choice, string) {
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
		return choice{}, fmt.Sprintf("%d GPUs have a UUID that begins so", len(found))
	case unknown > 0:
		return choice{}, fmt.Sprintf("no GPU is known to have this UUID (the UUIDs of %d are unknown)", unknown)
	default:
		return choice{}, "no GPU has this UUID"
	}
}

// migByUUID finds the MIG instance with this UUID or with this legacy name.
func (inv Inventory) migByUUID(entry string) (choice, string) {
	for _, d := range inv.Devices {
		for i := range d.MIGInstances {
			m := &d.MIGInstances[i]
			if m.UUID == entry || (d.UUID != "" && legacyName(d, *m) == entry) {
				return choice{device: d, instance: m}, ""
			}
		}
	}
	if inv.Source != SourceNVML {
		return choice{}, "MIG instances are known to NVML alone, which is not in use here"
	}
	return choice{}, "there is no such MIG instance"
}

// legacyName is what drivers before R470 call a MIG instance; later ones still accept it.
func legacyName(d Device, m MIGInstance) string {
	if m.GPUInstance == nil || m.ComputeInstance == nil {
		return ""
	}
	return "MIG-" + d.UUID + "/" + strconv.Itoa(*m.GPUInstance) + "/" + strconv.Itoa(*m.ComputeInstance)
}
