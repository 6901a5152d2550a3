//go:build !linux

// Command gpulaunch starts one pinned, supervised worker process per GPU.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintf(os.Stderr, "gpulaunch: it runs on Linux only, and this is %s\n", runtime.GOOS)
	os.Exit(125)
}
