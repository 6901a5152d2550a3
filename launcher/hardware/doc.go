// Package hardware contains only tests. They compare what gpulaunch says about a machine's GPUs
// with what nvidia-smi says, and check that workers on real GPUs get what gpulaunch promises.
// .ci/gpu builds them for a machine that has a GPU but no Go.
//
// The suite is a list of requirements. A requirement returns an error instead of failing a test, so
// that the dry run, which uses fake GPUs, can show that each of them can fail.
package hardware
