//go:build linux && nonvml

package main

// gpuSupport says how this build finds GPUs.
const gpuSupport = "static, without NVML: GPUs from the driver's files"
