// Package capture carries a machine to another place: it writes what planning reads of a machine to an archive, and
// opens such archives, those of others and unpacked folders, so that a plan can be made for a machine that is not here.
//
//	Write(w, "", inventory)   →  FILE.tar.gz  →   Open(FILE)  →  affinity.ReadTopology(machine.Root)
//
// Three decisions shape it:
//
//   - What goes into an archive is listed, and nothing else does. Serial numbers, host names, MAC addresses and GUIDs
//     stand beside the files that are needed, in the files themselves and even in the names of folders, so files of many
//     lines are cut to the lines that are needed, and names that are not of a known form are replaced.
//   - What the process may use (CPUs, memory nodes, CPU time) is written as one control group of a made-up name, whatever
//     hierarchy it comes from: the real names hold users, jobs and containers.
//   - An archive may come from anybody. Everything is made through an [os.Root], which the kernel keeps inside one private
//     folder, and the checks before it say what is wrong instead of doing half of it.
package capture
