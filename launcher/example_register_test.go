package launcher_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/gpulaunch/gpulaunch/launcher"
)

// settings is what every worker of the program gets.
type settings struct {
	Files   []string
	Workers int
}

// check is a package-level variable, so the worker processes, which run the same program, know
// the function by the same name.
var check = launcher.Register("check", func(index int, s settings) error {
	for i := index; i < len(s.Files); i += s.Workers {
		data, err := os.ReadFile(s.Files[i])
		if err != nil {
			return err
		}
		var record map[string]any
		if err := json.Unmarshal(data, &record); err != nil {
			return fmt.Errorf("%s: %w", s.Files[i], err)
		}
	}
	return nil
})

// This program checks files with a Go function that runs in three processes. Its main function
// begins with launcher.Init(), which does not return in a worker. (In a test, as here, TestMain
// begins with it.)
func ExampleRegister() {
	files := []string{"report/testdata/report.json", "report/testdata/report.json", "doc.go"}
	attempt, err := check.Start(context.Background(), planOnCPUs(3),
		launcher.Config{Stderr: io.Discard}, settings{files, 3})
	if err != nil {
		log.Fatal(err)
	}
	err = attempt.Wait(context.Background())
	var raised *launcher.RaisedError
	if errors.As(err, &raised) { // the function returned an error
		fmt.Printf("worker %d: %s\n", raised.Rank, raised.Message)
	} else if err != nil {
		log.Fatal(err)
	}
	// Output: worker 2: doc.go: invalid character '/' looking for beginning of value
}
