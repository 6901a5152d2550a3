//go:build linux && !nonvml

package main

// noNVML says that this build leaves NVML out.
const noNVML = false
