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

// Worker returns the end of a gpulaunch command line: it makes this test binary the worker, which
// then runs one of the programs below, which is named first and followed by its arguments.
func Worker(program ...string) []string {
	return append([]string{"--", os.Args[0]}, WorkerArgs(program...)...)
}

// WorkerArgs returns the arguments with which this test binary runs a worker's program.
func WorkerArgs(program ...string) []string { return append([]string{workerArg}, program...) }

// programs are what the workers of tests can do, by name. They get the arguments that follow the
// name, and return an exit code.
var programs map[string]func(args []string) int

func init() {
	programs = map[string]func(args []string) int{
		// report prints a Report as JSON.
		"report": func([]string) int { return printReport() },
		// block announces itself. Any signal that ends a process ends it.
		"block": func([]string) int { return announceAndBlock() },
		// ignore announces itself. Of the usual signals only SIGKILL ends it.
		"ignore": func([]string) int {
			signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT)
			return announceAndBlock()
		},
		// fail RANK CODE exits with the code in the worker with that rank, and blocks in others.
		"fail": fail,
		// succeed-after COUNT fails until the restart count is COUNT.
		"succeed-after": succeedAfter,
		// relay prints the names of the signals that it gets. SIGTERM ends it.
		"relay": func([]string) int { return relay() },
		// on-int DURATION ends that long after SIGINT.
		"on-int": exitAfterInterrupt,
		// leave PROGRAM starts the program in a session of its own, and ends.
		"leave": func(args []string) int { return startOrphan(args[0]) },
		// leave-and-block PROGRAM does the same but blocks.
		"leave-and-block": func(args []string) int {
			if code := startOrphan(args[0]); code != 0 {
				return code
			}
			return announceAndBlock()
		},
		// print OUT ERR prints its arguments to the standard output and the standard error.
		"print": func(args []string) int {
			fmt.Print(args[0])
			fmt.Fprint(os.Stderr, args[1])
			return 0
		},
	}
}

func workerMain(args []string) int {
	program, ok := programs[args[0]]
	if !ok {
		fmt.Fprintf(os.Stderr, "unknown program %q for a worker\n", args[0])
		return 2
	}
	return program(args[1:])
}

// announceAndBlock says that the worker is ready, and does not return.
func announceAndBlock() int {
	announce()
	for {
		_ = unix.Pause()
	}
}

func announce() { fmt.Printf("ready %d\n", os.Getpid()) }

func fail(args []string) int {
	if os.Getenv("RANK") == args[0] {
		code, _ := strconv.Atoi(args[1])
		return code
	}
	return announceAndBlock()
}

func succeedAfter(args []string) int {
	restarts := os.Getenv("TORCHELASTIC_RESTART_COUNT")
	fmt.Printf("attempt %s port %s\n", restarts, os.Getenv("MASTER_PORT"))
	if restarts != args[0] {
		return 9
	}
	return 0
}

func relay() int {
	c := make(chan os.Signal, 8)
	signal.Notify(c, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGTERM)
	announce()
	for sig := range c {
		fmt.Printf("got %s\n", unix.SignalName(sig.(syscall.Signal)))
		if sig == unix.SIGTERM {
			break
		}
	}
	return 0
}

func exitAfterInterrupt(args []string) int {
	delay, err := time.ParseDuration(args[0])
	if err != nil {
		panic(err)
	}
	c := make(chan os.Signal, 8)
	signal.Notify(c, unix.SIGINT)
	announce()
	<-c
	<-time.After(delay)
	return 0
}

// startOrphan starts a program that outlives this process, and prints its announcement.
func startOrphan(program string) int {
	child := exec.Command("/proc/self/exe", WorkerArgs(program)...)
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

// Report is what a worker reports about itself.
type Report struct {
	PID, Group int
	Env        map[string]string
	CPUs       affinity.CPUSet // those that the kernel lets it use
	Blocked    string          // SigBlk in /proc/self/status
	Stdin      string          // all of its standard input
}

func printReport() int {
	out, err := json.Marshal(selfReport())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("report %s\n", out)
	return 0
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
