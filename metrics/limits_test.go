package metrics

import (
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// pipeListener is a listener whose connections are pipes of this process, so that a test can have
// the time of its bubble (package synctest) and no buffers of the kernel in between.
type pipeListener struct {
	conns chan net.Conn
	once  sync.Once
	ended chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), ended: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.ended) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial() net.Conn {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	return ours
}

// TestSlowClientsAreDisconnected checks that a client that does not finish its request, one that
// does not read its answer, and one that asks for nothing more lose their connection.
func TestSlowClientsAreDisconnected(t *testing.T) {
	const request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
	for what, c := range map[string]struct {
		send   string
		pause  time.Duration // before the client reads
		limit  time.Duration // within which the connection ends, from then on
		answer bool
	}{
		"half a request":           {request[:len(request)-2], 0, time.Minute, false},
		"no request":               {"", 0, time.Minute, false},
		"an answer that is unread": {request, time.Minute, time.Second, false},
		"a request and no other":   {request, 0, 5 * time.Minute, true},
	} {
		synctest.Test(t, func(t *testing.T) { // with the bubble's time
			l := newPipeListener()
			s := Serve(l, exampleJob())
			conn := l.dial()
			if _, err := io.WriteString(conn, c.send); err != nil {
				t.Fatal(err)
			}
			time.Sleep(c.pause)
			_ = conn.SetReadDeadline(time.Now().Add(c.limit))
			got, err := io.ReadAll(conn)
			if err != nil {
				t.Errorf("%s: the connection is still there after %s", what, c.limit)
			}
			if strings.Contains(string(got), "gpulaunch_restarts_total 1\n") != c.answer {
				t.Errorf("%s: the answer is %.80q", what, got)
			}
			conn.Close()
			s.Close()
		})
	}
}

// TestScrapesAtOnceAreLimited has many clients ask for metrics and then read only the beginning of
// the answer, and checks that the server does not work on any number of answers at once. It may
// turn the others away or let them wait.
func TestScrapesAtOnceAreLimited(t *testing.T) {
	const clients, most = 100, 32
	synctest.Test(t, func(t *testing.T) {
		// An answer that no buffer holds.
		build := Build{Version: strings.Repeat("v", 256<<10), GoVersion: "go1"}
		l := newPipeListener()
		s := Serve(l, NewRecorder(build, time.Unix(1000, 0), gpu.Inventory{}))
		var answering atomic.Int32
		var all sync.WaitGroup
		release := make(chan struct{})
		for range clients {
			all.Go(func() {
				if beginsToAnswer(l, release) {
					answering.Add(1)
					<-release
				}
			})
		}
		synctest.Wait() // until nothing goes on before an answer has been read
		if n := answering.Load(); n < 1 || n > most {
			t.Errorf("the server works on %d answers at once, want 1 to %d", n, most)
		}
		close(release)
		all.Wait()
		s.Close()
	})
}

// beginsToAnswer asks for metrics and reports whether an answer begins. It gives up, and does not
// read the rest of an answer, once release is closed.
func beginsToAnswer(l *pipeListener, release <-chan struct{}) bool {
	ours, theirs := net.Pipe()
	go func() {
		<-release
		ours.Close()
	}()
	select {
	case l.conns <- theirs:
	case <-release:
		theirs.Close()
		return false
	}
	_, err := io.WriteString(ours, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
	if err != nil {
		return false
	}
	status := make([]byte, len("HTTP/1.1 200"))
	_, err = io.ReadFull(ours, status)
	return err == nil && string(status) == "HTTP/1.1 200"
}
