//go:build !linux

package main

// gpuSupport says how this build finds GPUs.
const gpuSupport = "planning only: jobs run on Linux"
