//go:build linux

package forkserver

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Messages are JSON after a length of four bytes, the highest first.

// longest bounds a message in bytes. The longest one is a traceback, which the
// template cuts to less.
const longest = 1 << 20

// failure is what the template or a worker says when it cannot go on.
type failure struct {
	// Error is one line.
	Error string `json:"error"`
	// Module is the module that was being imported, if one was.
	Module    string `json:"module"`
	Traceback string `json:"traceback"`
}

func send(w io.Writer, message any) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...))
	return err
}

// receive gives io.EOF when the other side has closed its end between messages.
func receive(r io.Reader, message any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > longest {
		return fmt.Errorf("a message of %d bytes, more than %d", size, longest)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return io.ErrUnexpectedEOF
	}
	return json.Unmarshal(text, message)
}

// pair makes a connection: an end for this process, and one to hand to another,
// which the caller closes after that.
func pair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a socket pair: %w", err)
	}
	end := os.NewFile(uintptr(fds[0]), "link")
	defer end.Close() // FileConn has a descriptor of its own
	theirs = os.NewFile(uintptr(fds[1]), "link")
	conn, err := net.FileConn(end)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("cannot use a socket pair: %w", err)
	}
	return conn.(*net.UnixConn), theirs, nil
}
