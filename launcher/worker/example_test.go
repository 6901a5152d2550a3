package worker_test

import (
	"fmt"
	"os"

	"github.com/gpulaunch/gpulaunch/launcher/worker"
)

// A whole program, started once for each GPU by
//
//	gpulaunch run ./sizes FILE ...
//
// Each worker takes every WorldSize-th file. If one cannot be read, its worker's error
// is what the launcher reports, and the launcher stops the others.
func Example() {
	worker.Run(func(info worker.Info) error {
		files := os.Args[1:]
		for i := info.Rank; i < len(files); i += info.WorldSize {
			stat, err := os.Stat(files[i])
			if err != nil {
				return fmt.Errorf("file %d of %d: %w", i+1, len(files), err)
			}
			fmt.Printf("%s: %d bytes, on device %q\n", files[i], stat.Size(), info.Device)
		}
		return nil
	})
}

// A program with a main of its own records the error that ends it.
func ExampleRecord() {
	info, err := worker.FromEnvironment()
	if err == nil {
		fmt.Printf("rank %d meets the others at %s\n", info.Rank, info.Master())
		return
	}
	if err := worker.Record(err); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
