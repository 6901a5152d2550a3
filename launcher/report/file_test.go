package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
	"github.com/gpulaunch/gpulaunch/launcher/launchertest"
)

// fullReport returns a report in which every field is set.
func fullReport() Report {
	r := job(4, true)
	r.Nodes, r.NodeRank, r.Restarts, r.Signal, r.Error = 2, 1, 1, "SIGINT", "no more pipes"
	r.Earlier, r.EarlierLeftOut, r.RestartDelaySeconds = []Worker{r.Workers[1]}, 2, 1.5
	r.Earlier[0].Attempt = 1
	r.Template = &Template{PID: 99, Modules: []string{"torch", "numpy"}, ImportSeconds: 2.5,
		SharedBytes: 300 << 20}
	r.Killed, r.Unkillable = []Process{{PID: 5000, Name: "loader <1>"}},
		[]Process{{PID: 5001, Name: "\u009bstuck\x7f\u202e\u2028"}}
	r.Workers[0].ErrorFile = "it is empty"
	return r
}

func create(t *testing.T, path string) *File {
	t.Helper()
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Discard)
	return f
}

func write(t *testing.T, path string, r Report) {
	t.Helper()
	if err := create(t, path).Write(r); err != nil {
		t.Fatal(err)
	}
}

// checkReport compares the report in data with want.
func checkReport(t *testing.T, data []byte, want Report) {
	t.Helper()
	var got Report
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Process{})); diff != "" {
		t.Error(diff)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// checkFiles checks that a folder has exactly these files.
func checkFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestJSON(t *testing.T) {
	data, err := encode(fullReport())
	if err != nil {
		t.Fatal(err)
	}
	checkReport(t, data, fullReport())
	if !bytes.HasSuffix(data, []byte("\n}\n")) ||
		!bytes.Contains(data, []byte("\n  \"host\": \"node17\",\n")) {
		t.Errorf("not indented, or without a last newline:\n%s", data)
	}
	if !bytes.Contains(data, []byte(`"loader <1>"`)) ||
		!bytes.Contains(data, []byte(`"\u009bstuck\u007f\u202e\u2028"`)) {
		t.Errorf("names are not escaped as they should:\n%s", data)
	}
	launchertest.Golden(t, "report.json", string(data)) // programs that read reports depend on it
	empty, err := encode(Report{})
	if err != nil || !bytes.Contains(empty, []byte(`"workers": []`)) {
		t.Errorf("%v: no workers are not an empty list:\n%s", err, empty)
	}
}

func TestRegularFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report.json")
	f := create(t, path)
	checkFiles(t, dir)
	if err := f.Write(fullReport()); err != nil {
		t.Fatal(err)
	}
	checkReport(t, read(t, path), fullReport())
	checkFiles(t, dir, "report.json")
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v: the mode is %v", err, info.Mode())
	}
}

func TestReplacedInOneStep(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report.json")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	before, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	create(t, path).Discard()
	if got := read(t, path); string(got) != "old" {
		t.Errorf("after Discard, the file has %q", got)
	}
	unfit := fullReport()
	unfit.Template.ImportSeconds = -1 / zero
	if err := create(t, path).Write(unfit); err == nil || string(read(t, path)) != "old" {
		t.Errorf("a report that JSON cannot represent: %v, and the file has %q", err, read(t, path))
	}
	write(t, path, fullReport())
	if got, err := io.ReadAll(before); err != nil || string(got) != "old" {
		t.Errorf("%v: a reader that had opened the old file reads %q", err, got)
	}
	checkReport(t, read(t, path), fullReport())
	checkFiles(t, dir, "report.json")
}

var zero float64

func TestSymbolicLinksStay(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"a/link": "second", "a/second": "../b/report.json",
		"c": "b"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	// There is no file at the target of the links the first time, and there is one the second time.
	for _, path := range []string{"a/link", "a/link", "c/../b/report.json", "c/report.json"} {
		write(t, dir+"/"+path, fullReport())
		checkReport(t, read(t, filepath.Join(dir, "b/report.json")), fullReport())
		checkFiles(t, filepath.Join(dir, "a"), "link", "second")
		checkFiles(t, filepath.Join(dir, "b"), "report.json")
		if err := os.Remove(filepath.Join(dir, "b/report.json")); err != nil && path != "a/link" {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(filepath.Join(dir, "loop")); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link to itself: %v", err)
	}
}

func TestCreateFailsAtOnce(t *testing.T) {
	dir := t.TempDir()
	fifo, socket := filepath.Join(dir, "fifo"), filepath.Join(dir, "socket")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	readOnly, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	for path, want := range map[string]error{
		fifo: unix.ENXIO, socket: unix.ENXIO, dir: unix.EISDIR, "": unix.EISDIR,
		dir + "/none/report.json":                      unix.ENOENT,
		fifo + "/report.json":                          unix.ENOTDIR,
		"/proc/report.json":                            unix.ENOENT,
		"/dev/fd/99999":                                unix.EBADF,
		"/dev/fd/x":                                    unix.ENOENT,
		fmt.Sprintf("/dev/fd/%d", readOnly.Fd()):       unix.EBADF,
		dir + "/" + strings.Repeat("x", 300) + "/r.js": unix.ENAMETOOLONG,
	} {
		_, err := Create(path)
		if !errors.Is(err, want) {
			t.Errorf("%q: %v instead of %v", path, err, want)
			continue
		}
		if text := err.Error(); strings.Contains(text, "\n") ||
			!strings.Contains(text, fmt.Sprintf("%q", path)) || !strings.Contains(text, "): ") {
			t.Errorf("the error does not name the path and what to do in one line: %s", text)
		}
	}
	checkFiles(t, dir, "fifo", "socket")
}

// TestProtectedFile runs itself as another user than root.
func TestProtectedFile(t *testing.T) {
	if path := os.Getenv("REPORT_TEST_PATH"); path != "" {
		_, err := Create(path)
		fmt.Print(err)
		os.Exit(0)
	}
	dir := t.TempDir()
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "open"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "open"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "open/mine"), nil, 0o444); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"report": "permission denied",
		"open/mine": "permission denied", "open/report": "<nil>"} {
		c := exec.Command("/proc/self/exe", "-test.run=^TestProtectedFile$")
		c.Env = append(os.Environ(), "REPORT_TEST_PATH="+filepath.Join(dir, path),
			"GOCOVERDIR="+os.TempDir())
		c.Dir = "/"
		if os.Geteuid() != 0 {
			nvmltest.Unavailable(t, "becoming another user needs root")
		}
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534,
			Gid: 65534}}
		got, err := c.CombinedOutput()
		if err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s: %v: %s", path, err, got)
		}
	}
	checkFiles(t, filepath.Join(dir, "open"), "mine")
}

func TestFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	f := create(t, path)
	read := make(chan []byte)
	go func() {
		data, err := io.ReadAll(reader)
		if err != nil {
			t.Error(err)
		}
		read <- data
	}()
	r := fullReport()
	r.Error = strings.Repeat("more than a pipe holds ", 1<<14)
	if err := f.Write(r); err != nil {
		t.Fatal(err)
	}
	checkReport(t, <-read, r)
	reader.Close()

	reader, err = os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	f = create(t, path)
	reader.Close()
	if err := f.Write(r); !errors.Is(err, unix.EPIPE) ||
		!strings.HasSuffix(err.Error(), "its reader is gone") {
		t.Error(err)
	}
}

// TestOwnDescriptors writes to descriptors such as a shell opens for redirections and <(…).
func TestOwnDescriptors(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	file, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fmt.Fprintln(file, "first")
	write(t, fmt.Sprintf("/dev/fd/%d", file.Fd()), fullReport())
	fmt.Fprintln(file, "last")
	text := string(read(t, log))
	middle, whole := strings.CutSuffix(text, "\nlast\n")
	middle, ok := strings.CutPrefix(middle, "first\n")
	if !whole || !ok {
		t.Fatalf("the report is not between the first and the last line of the file:\n%s", text)
	}
	checkReport(t, []byte(middle), fullReport())

	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	for _, ends := range [][2]int{fds, pipe} {
		reader := os.NewFile(uintptr(ends[0]), "reader")
		defer reader.Close()
		write(t, fmt.Sprintf("/proc/self/fd/%d", ends[1]), fullReport())
		if flags, err := unix.FcntlInt(uintptr(ends[1]), unix.F_GETFL, 0); err != nil ||
			flags&unix.O_NONBLOCK != 0 {
			t.Errorf("%v: a descriptor that others use has become non-blocking", err)
		}
		unix.Close(ends[1])
		data, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		checkReport(t, data, fullReport())
	}
}

func TestDevices(t *testing.T) {
	write(t, os.DevNull, fullReport())
	if err := create(t, "/dev/full").Write(fullReport()); !errors.Is(err, unix.ENOSPC) ||
		!strings.Contains(err.Error(), "make room") {
		t.Errorf("a full disk: %v", err)
	}
	if _, err := openSpecial("/dev/sda", fs.ModeDevice, 0); err == nil ||
		err.Error() != "it is a block device" {
		t.Errorf("a disk would be overwritten: %v", err)
	}
}

// TestMountedFile runs itself in a mount namespace where the report's file is a mount point.
func TestMountedFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "termination-log")
	if os.Getenv("REPORT_TEST_MOUNTED") != "" {
		path = os.Getenv("REPORT_TEST_MOUNTED")
		if err := unix.Mount(path, path, "", unix.MS_BIND, ""); err != nil {
			fmt.Print("no mount: ", err)
			os.Exit(0)
		}
		write(t, path, fullReport())
		return
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte("old "), 1<<14), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/proc/self/exe", "-test.run=^TestMountedFile$")
	c.Env = append(os.Environ(), "REPORT_TEST_MOUNTED="+path)
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		nvmltest.Unavailable(t, "a user namespace cannot be made here: "+err.Error())
	}
	if err := c.Wait(); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if strings.HasPrefix(out.String(), "no mount") {
		nvmltest.Unavailable(t, "nothing can be mounted here: "+out.String())
	}
	checkReport(t, read(t, path), fullReport())
	checkFiles(t, dir, "termination-log")
}

func TestReaderThatDoesNotRead(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	f := &File{path: "x", direct: os.NewFile(uintptr(pipe[1]), "x")}
	r := fullReport()
	r.Error = strings.Repeat("more than a pipe holds ", 1<<14)
	defer func(usual time.Duration) { readerTimeout = usual }(readerTimeout)
	readerTimeout = time.Millisecond
	if err := f.Write(r); !errors.Is(err, os.ErrDeadlineExceeded) ||
		!strings.Contains(err.Error(), "has not read it") {
		t.Error(err)
	}
}
