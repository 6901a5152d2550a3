// Package nvml calls NVIDIA's management library, libnvidia-ml.so.1, without cgo.
//
// Start with [Open], which finds the library and loads it. Initialize it with [Library.Init], get
// each GPU with [Library.Device], and ask the [Device]. For events, register the GPUs with a
// [Library.NewEventSet] and call [EventSet.Wait]. The comment of each method names the C function
// that it calls.
//
// The library is opened at run time with dlopen, so one binary works on machines with and without
// a GPU. The package binds only what gpulaunch reads. It never changes a GPU's settings or a
// thread's affinity.
//
// Three rules apply to all of it:
//
//   - A function that the library lacks gives an ordinary error, [ErrFunctionNotFound]. If NVML
//     has several versions of a function, the newest one that the library has is called.
//   - The library is never closed. Its threads and exit handlers may run after the last call, and
//     the process would crash if their code was no longer mapped.
//   - A call blocks its goroutine until the driver answers, and a crash inside the library ends
//     the process. A program that must survive that makes the calls in another process, as
//     package probe does.
//
// With the build tag nonvml, the package is empty. The binary is then static and needs no C
// library.
package nvml
