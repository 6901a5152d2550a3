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

// A message is a length of four bytes, in big-endian order, and JSON of that length.

// longest is the length of the longest message that is accepted, in bytes. Tracebacks are the
// longest messages, and the template process cuts them to less than this.
const longest = 1 << 20

// failure is the message that the template process or a worker sends before it gives up.
type failure struct {
	// Error is one line.
	Error string `json:"error"`
	// Module is the module that could not be imported, or "" if that was not the reason.
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

// receive returns io.EOF if the other side has closed the connection between two messages.
func receive(r io.Reader, message any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > longest {
		return fmt.Errorf("a message has %d bytes, more than %d", size, longest)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return io.ErrUnexpectedEOF
	}
	return json.Unmarshal(text, message)
}

// pair makes a connection to another process. The caller passes theirs on to that process and then
// closes it.
func pair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a socket pair: %w", err)
	}
	end := os.NewFile(uintptr(fds[0]), "link")
	defer end.Close() // FileConn duplicates the descriptor
	theirs = os.NewFile(uintptr(fds[1]), "link")
	conn, err := net.FileConn(end)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("cannot use a socket pair: %w", err)
	}
	return conn.(*net.UnixConn), theirs, nil
}
