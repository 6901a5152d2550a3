// Package nvmltest makes libnvidia-ml.so.1 libraries that serve machines which tests describe. They are written in C,
// built with cc (or $CC) when first needed, and loaded with the real dlopen, so that all Go code above them is what
// users run.
//
//	path := nvmltest.Install(t, nvmltest.EightGPUs([]uint64{0x0f}, []uint64{0xf0}).LostGPU(3))
//	lib, err := nvml.Open(path)
//
// The path also serves processes that a test starts. Each path is a library of its own with its own machine, and one
// process may load several.
package nvmltest
