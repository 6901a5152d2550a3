package launcher

import (
	"fmt"
	"net"
)

// FreePort finds a TCP port that nobody listens on. It is free until it is
// used: the system hands out ports in turn, so another program is unlikely to
// get the same one in the moment until rank 0 listens on it.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", ":0") // all addresses: rank 0 listens on all
	if err != nil {
		return 0, fmt.Errorf("cannot find a free port for the workers' rendezvous: %w; name one with --master-port", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
