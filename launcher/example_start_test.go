package launcher_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/machine"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// planOnCPUs plans n workers for this machine that need no GPU.
func planOnCPUs(n int) plan.Plan {
	none := gpu.Inventory{Source: gpu.SourceNone, Reason: "no GPU is needed"}
	options := plan.Options{Workers: plan.Workers(n), Environ: os.Environ()}
	here, err := machine.Read("", none, none.Visible("", false), options)
	if err != nil {
		log.Fatal(err)
	}
	job, err := plan.New(here, options)
	if err != nil {
		log.Fatal(err)
	}
	return job
}

// This program searches large files side by side, with a worker for each, and gives the workers an
// hour. It watches them itself, because it says every ten seconds that they are still at work.
func ExampleStart() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()

	files := []string{"doc.go", "testdata/train.py"}
	search := []string{"sh", "-c", `shift "$RANK"; exec grep -q "$0" "$1"`, "^package launcher"}
	argv, err := launcher.Command{Args: append(search, files...)}.Resolve()
	if err != nil {
		log.Fatal(err)
	}
	attempt, err := launcher.Start(ctx, planOnCPUs(len(files)),
		launcher.Config{Argv: argv, Grace: 5 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	done, err := attempt.Join(10 * time.Second)
	for !done {
		log.Printf("processes %v are still searching", attempt.PIDs())
		done, err = attempt.Join(10 * time.Second)
	}
	var exited *launcher.ExitedError
	var stopped *launcher.StoppedError
	switch {
	case errors.As(err, &exited):
		fmt.Printf("%s: grep exited with code %d\n", files[exited.Rank], exited.ExitCode)
	case errors.As(err, &stopped):
		fmt.Println("the search was not over within an hour")
	case err != nil:
		log.Fatal(err)
	}
	// Output: testdata/train.py: grep exited with code 1
}
