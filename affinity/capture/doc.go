// Package capture takes a machine to another place: what planning reads of a machine goes into an
// archive, and anybody can plan for the machine from that.
//
// Call [Write] on the machine, and [Open] on any system to read it as if you were there. Open also
// accepts other archives of a sys tree, and unpacked folders:
//
//	Write(w, "", inventory)  →  FILE  →  Open(FILE)  →  affinity.ReadTopology(machine.Root)
//
// Three decisions shape the package:
//
//   - An archive holds what is on a list and nothing else. Serial numbers, host names, MAC
//     addresses and GUIDs are in files beside those that are needed, but also in these and in the
//     names of folders. Files with many lines are therefore reduced to the lines that are needed,
//     and names that do not have a known form are replaced.
//   - What the process may use (CPUs, memory nodes, CPU time) is written as one control group with
//     a made-up name, whatever hierarchy it comes from, because the real names contain users, jobs
//     and containers.
//   - An archive may come from anybody. All files are written through an [os.Root], which keeps
//     them inside one private folder. The checks before that say what is wrong with an archive, so
//     that it is not half unpacked.
package capture
