package metrics

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// generous are limits that no test reaches.
var generous = limits{
	read: time.Hour, write: time.Hour, idle: time.Hour, scrapes: 16,
	connections: func() int { return 64 }, // more than Serve permits
}

// smallBuffer is the size of the kernel's buffers for a connection.
const smallBuffer = 4096

// counted is a listener that counts its open connections.
type counted struct {
	net.Listener
	mu         sync.Mutex
	open, most int
	accepted   int
	changed    chan struct{} // receives a value after each change
}

type countedConn struct {
	net.Conn
	close func()
}

func (l *counted) add(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open += n
	l.accepted += max(n, 0)
	l.most = max(l.most, l.open)
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

func (l *counted) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	_ = conn.(*net.TCPConn).SetWriteBuffer(smallBuffer)
	l.add(1)
	return &countedConn{conn, sync.OnceFunc(func() { l.add(-1) })}, nil
}

func (c *countedConn) Close() error {
	err := c.Conn.Close()
	c.close()
	return err
}

// awaitOpen waits until at least one connection has been accepted and n are open.
func (l *counted) awaitOpen(t *testing.T, n int) {
	t.Helper()
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		open, accepted := l.open, l.accepted
		l.mu.Unlock()
		if open == n && accepted > 0 {
			return
		}
		select {
		case <-l.changed:
		case <-deadline:
			t.Fatalf("%d connections are open after %s, want %d", open, patience, n)
		}
	}
}

// startServer serves a collector until the test ends.
func startServer(t *testing.T, c prometheus.Collector, max limits) *counted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	counting := &counted{Listener: l, changed: make(chan struct{}, 1)}
	s := serve(counting, c, max)
	t.Cleanup(s.Close)
	return counting
}

// connect opens a connection that is closed when the test ends, and sends text on it.
func (l *counted) connect(t *testing.T, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.(*net.TCPConn).SetReadBuffer(smallBuffer)
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// scrape gets the metrics on a connection of its own.
func (l *counted) scrape() error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := client.Get("http://" + l.Addr().String() + "/metrics")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	empty := !strings.Contains(string(body), "\n")
	if err == nil && (response.StatusCode != http.StatusOK || empty) {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return err
}

const (
	request  = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
	halfSent = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
)

// blocking is a collector whose Collect calls a function.
type blocking func()

var blockingDesc = prometheus.NewDesc("blocking", "Blocks.", nil, nil)

func (b blocking) Describe(ch chan<- *prometheus.Desc) { ch <- blockingDesc }

func (b blocking) Collect(ch chan<- prometheus.Metric) {
	b()
	ch <- prometheus.MustNewConstMetric(blockingDesc, prometheus.GaugeValue, 1)
}

// large is a collector whose metrics do not fit into the buffers of a connection.
type large struct{}

var largeDesc = prometheus.NewDesc("large", strings.Repeat("x", 1<<20), nil, nil)

func (large) Describe(ch chan<- *prometheus.Desc) { ch <- largeDesc }

func (large) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(largeDesc, prometheus.GaugeValue, 1)
}

// TestHalfSentRequests holds connections whose requests have a body that never comes.
func TestHalfSentRequests(t *testing.T) {
	l := startServer(t, exampleJob(), generous)
	for range 20 {
		conn := l.connect(t, halfSent)
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if line, err := io.ReadAll(io.LimitReader(conn, 15)); string(line) != "HTTP/1.1 200 OK" {
			t.Fatalf("the answer begins with %q (%v)", line, err)
		}
	}
	if err := l.scrape(); err != nil {
		t.Error(err)
	}
}

// TestTimeouts has clients that do not go on. Each of the timeouts closes its own connections only.
func TestTimeouts(t *testing.T) {
	short := 20 * time.Millisecond
	for name, c := range map[string]struct {
		set       func(*limits)
		collector prometheus.Collector
		send      string
	}{
		"nothing is sent":      {func(l *limits) { l.read = short }, exampleJob(), ""},
		"half of the header":   {func(l *limits) { l.read = short }, exampleJob(), request[:20]},
		"the body never comes": {func(l *limits) { l.read = short }, exampleJob(), halfSent},
		"the response is not read": {func(l *limits) { l.write = short }, large{},
			request},
		"no second request": {func(l *limits) { l.idle = short }, exampleJob(), request},
	} {
		t.Run(name, func(t *testing.T) {
			max := generous
			c.set(&max)
			l := startServer(t, c.collector, max)
			l.connect(t, c.send)
			l.awaitOpen(t, 0)

			// Without the timeout, the connection stays.
			l = startServer(t, c.collector, generous)
			l.connect(t, c.send)
			l.awaitOpen(t, 1)
			if err := l.scrape(); err != nil {
				t.Error(err)
			}
			l.awaitOpen(t, 1)
		})
	}
}

// TestManyConnections holds many more connections than may be open.
func TestManyConnections(t *testing.T) {
	max := generous
	max.connections = func() int { return 8 }
	l := startServer(t, exampleJob(), max)
	for i := range 200 {
		l.connect(t, []string{"", request[:20], request, halfSent}[i%4])
		if i%10 == 0 {
			if err := l.scrape(); err != nil {
				t.Fatalf("after %d connections: %v", i+1, err)
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.most != 9 { // the one that has just been accepted is on top
		t.Errorf("up to %d connections were open, want 9", l.most)
	}
}

// TestScrapesAtOnce collects 16 scrapes at once, and further ones when it is their turn.
func TestScrapesAtOnce(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	sixteen := make(chan struct{})
	l := startServer(t, blocking(func() {
		mu.Lock()
		now++
		if most = max(most, now); now == 16 && most == 16 {
			select {
			case <-sixteen:
			default:
				close(sixteen)
			}
		}
		mu.Unlock()
		<-sixteen
		mu.Lock()
		now--
		mu.Unlock()
	}), generous)
	var group sync.WaitGroup
	for range 40 {
		group.Go(func() {
			if err := l.scrape(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if most != 16 {
		t.Errorf("%d scrapes were collected at once, want 16", most)
	}
}

// TestSlowReader has a client that does not read its response. Others need not wait for it.
func TestSlowReader(t *testing.T) {
	max := generous
	max.scrapes = 1
	l := startServer(t, large{}, max)
	l.connect(t, request)
	l.awaitOpen(t, 1)
	for range 2 {
		if err := l.scrape(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConnectionLimit(t *testing.T) {
	for _, c := range []struct {
		files         uint64
		workers, want int
	}{
		{1 << 20, 8, maxConnections}, {1024, 8, maxConnections},
		{1024, 100, maxConnections}, {1024, 118, 16}, {1024, 1000, minConnections},
		{90, 1, 18}, {64, 1, minConnections}, {0, 0, minConnections},
	} {
		if got := connectionLimit(c.files, c.workers); got != c.want {
			t.Errorf("connectionLimit(%d, %d) = %d, want %d", c.files, c.workers, got, c.want)
		}
	}
	if openFileLimit() == 0 {
		t.Error("this process may have no descriptors")
	}
}
