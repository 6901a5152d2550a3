package launcher_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu/probe"
	"github.com/gpulaunch/gpulaunch/launcher"
	"github.com/gpulaunch/gpulaunch/launcher/machine"
	"github.com/gpulaunch/gpulaunch/launcher/plan"
)

// readPlan plans n workers for this machine.
func readPlan(n int) plan.Plan {
	inventory := probe.Discover(probe.Options{})
	value, set := os.LookupEnv("CUDA_VISIBLE_DEVICES")
	options := plan.Options{Workers: plan.Workers(n), Oversubscribe: true, Environ: os.Environ()}
	machine, err := machine.Read("", inventory, inventory.Visible(value, set), options)
	if err != nil {
		log.Fatal(err)
	}
	plan, err := plan.New(machine, options)
	if err != nil {
		log.Fatal(err)
	}
	return plan
}

// This example runs a program in two workers and checks once a second whether they are done.
func ExampleStart() {
	argv, err := launcher.Command{Args: []string{"sh", "-c", "exit $RANK"}}.Resolve()
	if err != nil {
		log.Fatal(err)
	}
	attempt, err := launcher.Start(context.Background(), readPlan(2),
		launcher.Config{Argv: argv, Grace: 10 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	done := false
	for !done {
		done, err = attempt.Join(time.Second)
	}
	var exited *launcher.ExitedError
	if errors.As(err, &exited) {
		fmt.Printf("rank %d of %d exited with code %d\n", exited.Rank, len(attempt.PIDs()),
			exited.ExitCode)
	}
	// Output: rank 1 of 2 exited with code 1
}

// share is the argument that each worker of the example gets.
type share struct{ Numbers []int }

// The workers know add because a package-level variable registers it. It runs in them because main
// (here TestMain) begins with launcher.Init().
var add = launcher.Register("add", func(index int, s share) error {
	if index >= len(s.Numbers) {
		return fmt.Errorf("there is no number for worker %d", index)
	}
	return nil
})

// This example runs a Go function in three worker processes. It fails in the last.
func ExampleRegister() {
	attempt, err := add.Start(context.Background(), readPlan(3),
		launcher.Config{Stderr: io.Discard}, share{Numbers: []int{1, 2}})
	if err != nil {
		log.Fatal(err)
	}
	var raised *launcher.RaisedError
	if err := attempt.Wait(context.Background()); errors.As(err, &raised) {
		fmt.Printf("rank %d: %s\n", raised.Rank, raised.Message)
	}
	// Output: rank 2: there is no number for worker 2
}
