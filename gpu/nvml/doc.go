// Package nvml calls NVIDIA's management library, libnvidia-ml.so.1, without cgo.
//
// The library is opened at run time with dlopen, so one binary serves machines with and without a GPU. Only what
// gpulaunch reads is bound, and nothing here changes a GPU's settings or a thread's affinity.
//
// Three rules hold throughout:
//
//   - A function that a library lacks is an ordinary error, [ErrFunctionNotFound], never a panic. Where NVML has
//     several versions of a function, the newest one present is used.
//   - The library is never closed. Its threads and exit handlers may outlive the last call, and unmapping code that
//     is still to run ends the process.
//   - A call blocks its goroutine for as long as the driver pleases, and a crash inside the library ends the process.
//     Who cannot afford that makes the calls in another process.
//
// The build tag nonvml leaves the binding out: the binary is then static and needs no C library.
package nvml
