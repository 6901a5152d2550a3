package supervisor_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/machine"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
	"github.com/gpulaunch/gpulaunch/launcher/supervisor"
)

// This program runs a job with a time limit. A job that reaches the limit is asked to end, and its
// exit code is the one of timeout(1). A context could stop it as well, but could not choose the
// exit code.
func Example() {
	none := gpu.Inventory{Source: gpu.SourceNone, Reason: "no GPU is needed"}
	options := plan.Options{Workers: plan.Workers(1), Environ: os.Environ()}
	here, err := machine.Read("", none, none.Visible("", false), options)
	if err != nil {
		log.Fatal(err)
	}
	job, err := plan.New(here, options)
	if err != nil {
		log.Fatal(err)
	}
	argv, err := launcher.Command{Args: []string{"sleep", "1000"}}.Resolve()
	if err != nil {
		log.Fatal(err)
	}

	control := supervisor.New()
	defer control.Close()
	limit := time.AfterFunc(100*time.Millisecond, func() {
		control.Request(supervisor.Request{
			Signal: unix.SIGTERM, Reason: "the time limit is reached", Code: 124,
		})
	})
	defer limit.Stop()
	result := launcher.Run(context.Background(), job, launcher.Config{
		Argv: argv, Supervisor: control, Grace: 10 * time.Second,
		Log: func(line string) { log.Print(line) },
	})
	fmt.Println("exit code", result.ExitCode)
	// Output: exit code 124
}
