// Package hardware holds tests only: that what gpulaunch says of a machine's GPUs
// is what nvidia-smi says, and that workers on real GPUs get what they were
// promised. .ci/gpu builds them for a machine with a GPU and without Go.
//
// The points of the suite return errors rather than fail a test, so that the dry
// run on made-up GPUs can show that each of them can go wrong.
package hardware
