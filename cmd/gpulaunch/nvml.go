//go:build linux && !nonvml

package main

// How this build finds GPUs, for people and for doctor.
const (
	gpuSupport = "NVML loaded at run time"
	noNVML     = false
)
