package launcher

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// freePort finds a TCP port that nobody uses on any address. It is free until it is used:
// the system hands out ports in turn, so another program is unlikely to get the same one in
// the moment until rank 0 listens on it.
//
// It does so with four system calls, because package net first finds out what the machine's
// IP stack can do, which takes as long as starting a worker.
func freePort() (port int, err error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	var any unix.Sockaddr = &unix.SockaddrInet6{}
	if err != nil { // a machine without IPv6
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		any = &unix.SockaddrInet4{}
	}
	if err == nil {
		defer unix.Close(fd)
		err = unix.Bind(fd, any) // port 0: the system chooses, ip(7)
	}
	var got unix.Sockaddr
	if err == nil {
		got, err = unix.Getsockname(fd)
	}
	if err != nil {
		return 0, fmt.Errorf("cannot find a free port for the workers' rendezvous: %w; name one with --master-port", err)
	}
	switch a := got.(type) {
	case *unix.SockaddrInet6:
		port = a.Port
	case *unix.SockaddrInet4:
		port = a.Port
	}
	return port, nil
}
