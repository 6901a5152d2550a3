//go:build linux && nonvml

package main

// How this build finds GPUs, for people and for doctor.
const (
	gpuSupport = "static, without NVML: GPUs from the driver's files"
	noNVML     = true
)
