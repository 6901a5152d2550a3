package stdio

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// slowWriter takes its time for each write.
type slowWriter struct{ bytes.Buffer }

func (w *slowWriter) Write(p []byte) (int, error) {
	<-time.After(20 * time.Millisecond)
	return w.Buffer.Write(p)
}

// readOutput begins to copy the output of rank 0 to out, and returns the end of its standard output.
func readOutput(t *testing.T, out *slowWriter) (*Output, *os.File) {
	t.Helper()
	o := NewOutput(NewSink(out, nil), NewSink(out, nil), 0)
	p, err := NewPipes()
	if err != nil {
		t.Fatal(err)
	}
	p.Stderr.Close()
	o.Read(0, p)
	return o, p.Stdout
}

// TestOutsiderThatWrites has a process that is none of the job's write without an end, as one can to
// which a worker has passed its standard output. The job's own output is complete, and the reading
// ends.
func TestOutsiderThatWrites(t *testing.T) {
	var out slowWriter
	o, pipe := readOutput(t, &out)
	defer pipe.Close()
	if _, err := pipe.WriteString(strings.Repeat("of the job\n", 5000)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := pipe.WriteString("of an outsider\n"); err != nil {
					return // nobody reads any more
				}
			}
		}
	})
	o.Cut(time.Hour) // it is never silent
	<-o.Drained()
	close(stop)
	writing.Wait()
	if n := strings.Count(out.String(), "of the job\n"); n != 5000 {
		t.Errorf("%d of 5000 lines of the job were passed on", n)
	}
	if got := o.Interrupted(); !slices.Equal(got, []string{"0"}) {
		t.Errorf("the interrupted ranks are %q, want 0", got)
	}
}

// TestOutsiderThatIsSilent is the negative control: a process that only has the pipe open does not
// keep the reading from ending, and need not be named.
func TestOutsiderThatIsSilent(t *testing.T) {
	var out slowWriter
	o, pipe := readOutput(t, &out)
	defer pipe.Close()
	if _, err := pipe.WriteString("of the job\n"); err != nil {
		t.Fatal(err)
	}
	o.Cut(10 * time.Millisecond)
	<-o.Drained()
	if got := o.Interrupted(); len(got) > 0 || out.String() != "[0] of the job\n" {
		t.Errorf("%q, and the interrupted ranks are %q", out.String(), got)
	}
}
