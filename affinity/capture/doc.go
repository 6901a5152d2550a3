// Package capture takes a machine to another place: what planning reads of a machine goes into an
// archive, from which a plan can be made anywhere.
//
// [Write] writes the archive, on the machine. [Open] opens it, on any system; it also opens other
// archives of a sys tree, and unpacked folders:
//
//	Write(w, "", inventory)  →  FILE  →  Open(FILE)  →  affinity.ReadTopology(machine.Root)
//
// Three decisions shape the package:
//
//   - An archive holds what is on a list and nothing else. The files that are needed are beside
//     serial numbers, host names, MAC addresses and GUIDs, which also are in some of these files
//     and in the names of folders. So long files are reduced to the lines that are needed, and
//     names that do not have a known form are replaced.
//   - What the process may use (CPUs, memory nodes, CPU time) is written as one control group with
//     a made-up name, whatever hierarchy it comes from, because the real names contain users, jobs
//     and containers.
//   - An archive may come from anybody. All files are written through an [os.Root], which keeps
//     them inside one private folder. The checks before that are there to say what is wrong instead
//     of unpacking a part of it.
package capture
