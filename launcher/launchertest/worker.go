//go:build linux

package launchertest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/affinity"
)

// Worker gives the command line of a worker.
func Worker(args ...string) []string {
	return append([]string{"--", os.Args[0], workerArg}, args...)
}

// Report is what a worker says of itself.
type Report struct {
	PID, Group int
	Env        map[string]string
	CPUs       affinity.CPUSet // what the kernel says
	Blocked    string          // SigBlk of /proc/self/status
	Stdin      string
}

// workerMain is what the workers of these tests do.
func workerMain(args []string) int {
	switch args[0] {
	case "report":
		out, err := json.Marshal(selfReport())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Printf("report %s\n", out)
	case "block":
		// Announces itself and ends with the first signal that ends it.
		fmt.Printf("ready %d\n", os.Getpid())
		block()
	case "ignore":
		// As block, but only SIGKILL ends it.
		signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT)
		fmt.Printf("ready %d\n", os.Getpid())
		block()
	case "fail":
		// The rank args[1] exits with code args[2], the others block.
		if os.Getenv("RANK") == args[1] {
			code, _ := strconv.Atoi(args[2])
			return code
		}
		fmt.Printf("ready %d\n", os.Getpid())
		block()
	case "succeed-after":
		// Fails until the restart count is args[1].
		fmt.Printf("attempt %s port %s\n", os.Getenv("TORCHELASTIC_RESTART_COUNT"), os.Getenv("MASTER_PORT"))
		if os.Getenv("TORCHELASTIC_RESTART_COUNT") != args[1] {
			return 9
		}
	case "relay":
		// Says which signals it gets.
		c := make(chan os.Signal, 8)
		signal.Notify(c, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGTERM)
		fmt.Printf("ready %d\n", os.Getpid())
		for sig := range c {
			fmt.Printf("got %s\n", unix.SignalName(sig.(syscall.Signal)))
			if sig == unix.SIGTERM {
				return 0
			}
		}
	case "on-int":
		// Takes a moment (args[1]) to end after SIGINT.
		c := make(chan os.Signal, 8)
		signal.Notify(c, unix.SIGINT)
		fmt.Printf("ready %d\n", os.Getpid())
		<-c
		pause(args[1])
	case "leave":
		return leave(args[1])
	case "leave-and-block":
		if code := leave(args[1]); code != 0 {
			return code
		}
		fmt.Printf("ready %d\n", os.Getpid())
		block()
	case "print":
		fmt.Print(args[1])
		fmt.Fprint(os.Stderr, args[2])
	}
	return 0
}

// leave leaves a child in a session of its own behind, which does what is said.
func leave(what string) int {
	child := exec.Command("/proc/self/exe", workerArg, what)
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	fmt.Print(line)
	return 0
}

// pause is a worker's time of doing something else.
func pause(text string) {
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	<-time.After(d)
}

// block waits for a signal that ends the process.
func block() {
	for {
		_ = unix.Pause()
	}
}

func selfReport() Report {
	r := Report{PID: os.Getpid(), Group: unix.Getpgrp(), Env: map[string]string{}}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		r.Env[name] = value
	}
	r.CPUs, _ = affinity.Current(os.Getpid())
	status, _ := os.ReadFile("/proc/self/status")
	if m := regexp.MustCompile(`SigBlk:\s*(\w+)`).FindSubmatch(status); m != nil {
		r.Blocked = string(m[1])
	}
	stdin, _ := io.ReadAll(os.Stdin)
	r.Stdin = string(stdin)
	return r
}
