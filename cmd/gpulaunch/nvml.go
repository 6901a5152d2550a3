//go:build linux && !nonvml

package main

// gpuSupport says how this build finds GPUs.
const gpuSupport = "NVML loaded at run time"
