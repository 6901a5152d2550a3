package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// DefaultAddress is where metrics are served unless the user says otherwise:
// on the loopback, since there is no password.
const DefaultAddress = "127.0.0.1:9750"

// Off is the address that stands for no metrics.
const Off = "off"

// Server serves /metrics.
type Server struct {
	http *http.Server
	l    net.Listener
	done chan struct{}
}

// Serve serves the recorder's metrics on address (host:port; port 0 takes a
// free one) until Close.
func Serve(address string, r *Recorder) (*Server, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot serve metrics on %s: %w", address, reason(err))
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(r)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4,
		// One bad series must not hide the others.
		ErrorHandling: promhttp.ContinueOnError,
	}))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!doctype html><title>gpulaunch</title><a href="/metrics">metrics</a>`)
	})
	s := &Server{
		http: &http.Server{
			Handler: mux,
			// A client that dawdles may not hold on to a connection.
			ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
			MaxHeaderBytes: 16 << 10,
			ErrorLog:       log.New(io.Discard, "", 0),
		},
		l: l, done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(l) // ends when Close closes the listener
	}()
	return s, nil
}

// reason is what the system said, without what the caller knows already.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// Addr is where the server listens, with the real port.
func (s *Server) Addr() string { return s.l.Addr().String() }

// Close ends the server; a scrape under way gets a moment to finish.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	<-s.done
}
