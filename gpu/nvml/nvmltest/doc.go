// Package nvmltest makes libnvidia-ml.so.1 libraries that serve machines described by tests.
//
// Describe a machine, install a library for it and open that:
//
//	m := nvmltest.EightGPUs([]uint64{0x0f}, []uint64{0xf0}).LostGPU(3)
//	lib, err := nvml.Open(nvmltest.Install(t, m))
//
// The libraries are written in C, built with cc (or $CC) when they are first needed, and loaded
// with the real dlopen. All Go code above them is therefore the code that users run. Processes
// that a test starts can load them, too. Each path is a library of its own with its own machine,
// and one process may load several.
package nvmltest
