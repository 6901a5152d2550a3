package worker_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"

	"github.com/gpulaunch/gpulaunch/launcher/worker"
)

// A program that prints the SHA-256 sums of files. The command
//
//	gpulaunch run --nproc-per-node=4 ./sums FILE ...
//
// starts four workers, and each of them takes every fourth file. If one of them cannot read a
// file, gpulaunch stops the others and reports that worker's error.
func Example() {
	worker.Run(func(info worker.Info) error {
		names := os.Args[1:]
		for i := info.Rank; i < len(names); i += info.WorldSize {
			file, err := os.Open(names[i])
			if err != nil {
				return err
			}
			sum := sha256.New()
			if _, err := io.Copy(sum, file); err != nil {
				return fmt.Errorf("file %d of %d: %w", i+1, len(names), err)
			}
			file.Close()
			fmt.Printf("%x  %s\n", sum.Sum(nil), names[i])
		}
		return nil
	})
}

// A server with a main function of its own, started once for each device. An error in any of the
// servers is what the launcher reports.
func ExampleRecord() {
	info, err := worker.FromEnvironment()
	if err == nil {
		address := fmt.Sprintf(":%d", 8000+info.LocalRank)
		log.Printf("serving on %s with device %q", address, info.Device)
		err = http.ListenAndServe(address, nil)
	}
	if recordErr := worker.Record(err); recordErr != nil {
		log.Print(recordErr)
	}
	log.Fatal(err)
}
