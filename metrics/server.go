package metrics

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// limits are what a client may take.
type limits struct {
	// read is the time for a whole request, which on a new connection begins with the connection;
	// write is the time for a response, and idle that between two requests.
	read, write, idle time.Duration
	// connections is how many may be open at once, see connectionLimit.
	connections func() int
	// scrapes is how many scrapes are collected at once. Others wait for their turn.
	scrapes int
}

// Server serves /metrics.
//
// Whoever can reach it can neither block it for others nor take what the job needs: a client has
// limited time, an idle connection gives way to a new one, and descriptors stay free for workers.
type Server struct {
	http *http.Server
	done chan struct{}
}

// Serve serves the recorder's metrics on a listener until Close, which closes that.
func Serve(l net.Listener, r *Recorder) *Server {
	files := openFileLimit()
	return serve(l, r, limits{
		read: 5 * time.Second, write: 10 * time.Second, idle: 2 * time.Minute, scrapes: 16,
		connections: func() int { return connectionLimit(files, r.workerCount()) },
	})
}

func serve(l net.Listener, c prometheus.Collector, max limits) *Server {
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", buffered(max.scrapes, promhttp.HandlerFor(registry,
		// One bad series must not hide the others.
		promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w,
			`<!doctype html><title>gpulaunch</title><a href="/metrics">metrics</a>`)
	})
	open := newConnections(l, max.connections)
	s := &Server{
		http: &http.Server{
			Handler:     withoutBody(mux),
			ReadTimeout: max.read, WriteTimeout: max.write, IdleTimeout: max.idle,
			MaxHeaderBytes: 16 << 10,
			ConnState:      open.changed,
			ErrorLog:       log.New(io.Discard, "", 0),
		},
		done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(open) // ends when Close closes the listener
	}()
	return s
}

// Close ends the server; a scrape under way gets a moment to finish.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	<-s.done
}

// withoutBody answers requests that have a body without reading it. Package http would otherwise
// wait for the body before it sends the response, so that the connection can be used again.
func withoutBody(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

// buffered lets so many requests at once be answered by h. A client that does not read its response
// is not waited for meanwhile, because the response is sent only afterwards.
func buffered(atOnce int, h http.Handler) http.Handler {
	turn := make(chan struct{}, atOnce)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := buffer{ResponseWriter: w, status: http.StatusOK}
		select {
		case turn <- struct{}{}:
		case <-r.Context().Done():
			return
		}
		func() {
			defer func() { <-turn }()
			h.ServeHTTP(&b, r)
		}()
		w.WriteHeader(b.status)
		_, _ = w.Write(b.body.Bytes()) // the client may be gone
	})
}

// buffer is an http.ResponseWriter that keeps the response.
type buffer struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (b *buffer) WriteHeader(status int) { b.status = status }

func (b *buffer) Write(p []byte) (int, error) { return b.body.Write(p) }
