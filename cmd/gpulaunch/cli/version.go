package cli

import "runtime/debug"

// release is set by a release build:
//
//	-ldflags "-X github.com/gpulaunch/gpulaunch/cmd/gpulaunch/cli.release=v1.2.3"
var release string

// Version gives the release, or what the Go toolchain knows of the source.
func Version() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
