package report

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// stranger and other are two users who are not this one.
const stranger, other = 65533, 65532

// asRoot skips a test that only root can do.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		nvmltest.Unavailable(t, "files of other users need root")
	}
}

// shared makes a folder with these permissions that every user can reach.
func shared(t *testing.T, mode os.FileMode) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestLinkOfAnotherUser has links in a folder such as /tmp that lead to a file of this user.
func TestLinkOfAnotherUser(t *testing.T) {
	asRoot(t)
	dir, home := shared(t, os.ModeSticky|0o777), t.TempDir()
	precious := filepath.Join(home, "precious")
	if err := os.WriteFile(precious, []byte("keep"), 0o644); err != nil {
		t.Fatal(err)
	}
	link := func(name, to string, uid int) string {
		path := filepath.Join(dir, name)
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
		if err := os.Lchown(path, uid, uid); err != nil {
			t.Fatal(err)
		}
		return path
	}
	theirs := link("theirs", precious, stranger)
	for _, path := range []string{theirs, link("mine to theirs", "theirs", 0),
		link("nowhere", home+"/new", stranger)} {
		_, err := Create(path)
		if !errors.Is(err, errOtherUser) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if string(read(t, precious)) != "keep" {
		t.Error("a link of another user was followed")
	}
	// The negative control: this user's own link is followed.
	write(t, link("mine", precious, 0), fullReport())
	checkReport(t, read(t, precious), fullReport())
}

// TestPipeOfAnotherUser has FIFOs of another user in a folder that everybody can write to, and in
// one that only its owner can write to.
func TestPipeOfAnotherUser(t *testing.T) {
	asRoot(t)
	for mode, want := range map[os.FileMode]error{os.ModeSticky | 0o777: errOtherUser, 0o755: nil} {
		path := filepath.Join(shared(t, mode), "fifo")
		if err := unix.Mkfifo(path, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, stranger, stranger); err != nil {
			t.Fatal(err)
		}
		reader, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Create(path)
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%v: %v, want %v", mode, err, want)
		}
		if f != nil {
			f.Discard()
		}
		reader.Close()
	}
}

// TestStickyFolder runs itself as another user: it finds out at the start that it may not replace a
// file in a folder such as /tmp.
func TestStickyFolder(t *testing.T) {
	if path := os.Getenv("REPORT_TEST_STICKY"); path != "" {
		_, err := Create(path)
		fmt.Print(err)
		os.Exit(0)
	}
	asRoot(t)
	dir := shared(t, os.ModeSticky|0o777)
	for name, uid := range map[string]int{"theirs": other, "mine": stranger} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Chmod(path, 0o666), os.Chown(path, uid, uid)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"theirs": errOtherUser.Error(), "mine": "<nil>",
		"new": "<nil>"} {
		c := exec.Command("/proc/self/exe", "-test.run=^TestStickyFolder$")
		c.Env = append(os.Environ(), "REPORT_TEST_STICKY="+filepath.Join(dir, name),
			"GOCOVERDIR="+os.TempDir())
		c.Dir = "/"
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger,
			Gid: stranger}}
		got, err := c.CombinedOutput()
		if err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s: %v: %s", name, err, got)
		}
	}
}

// mounted runs the test function that calls it once more in a user and mount namespace of its own,
// and returns true there.
func mounted(t *testing.T, dir string) bool {
	t.Helper()
	const variable = "REPORT_TEST_NAMESPACE"
	if os.Getenv(variable) != "" {
		return true
	}
	c := exec.Command("/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
	c.Env = append(os.Environ(), variable+"="+dir)
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	out, err := c.CombinedOutput()
	switch {
	case bytes.Contains(out, []byte("--- SKIP")) || err != nil && len(out) == 0:
		nvmltest.Unavailable(t, fmt.Sprintf("nothing can be mounted here: %v %s", err, out))
	case err != nil:
		t.Fatalf("%v: %s", err, out)
	}
	return false
}

// mountSmall mounts a file system of 256 KiB in a folder and returns a function that fills it.
func mountSmall(t *testing.T, dir string) (fill func()) {
	t.Helper()
	if err := unix.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%d", 256<<10)); err != nil {
		nvmltest.Unavailable(t, "nothing can be mounted here: "+err.Error())
	}
	return func() {
		err := os.WriteFile(filepath.Join(dir, "fill"), make([]byte, 1<<20), 0o600)
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("the disk is not full: %v", err)
		}
	}
}

// TestFullDisk has a disk that is full at the start, and one that is full at the end. The previous
// report stays in both cases.
func TestFullDisk(t *testing.T) {
	dir := os.Getenv("REPORT_TEST_NAMESPACE")
	if dir == "" {
		dir = t.TempDir()
	}
	if !mounted(t, dir) {
		return
	}
	fill := mountSmall(t, dir)
	path := filepath.Join(dir, "report.json")
	write(t, path, fullReport())
	before := read(t, path)
	check := func(when string, err error) {
		t.Helper()
		if !errors.Is(err, unix.ENOSPC) || strings.Contains(err.Error(), "\n") ||
			!strings.Contains(err.Error(), "make room") {
			t.Errorf("%s: %v", when, err)
		}
		if !bytes.Equal(read(t, path), before) {
			t.Errorf("%s: the previous report is not there any more", when)
		}
		checkFiles(t, dir, "fill", "report.json")
	}
	f := create(t, path)
	fill()
	check("at the end", f.Write(fullReport()))
	_, err := Create(path)
	check("at the start", err)
}

// TestFullDiskOfMountedFile does the same with a report that is a mount point itself.
func TestFullDiskOfMountedFile(t *testing.T) {
	dir := os.Getenv("REPORT_TEST_NAMESPACE")
	if dir == "" {
		dir = t.TempDir()
	}
	path := filepath.Join(dir, "termination-log")
	if !mounted(t, dir) {
		return
	}
	disk := filepath.Join(dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	fill := mountSmall(t, disk)
	for _, file := range []string{path, filepath.Join(disk, "log")} {
		if err := os.WriteFile(file, []byte("previous"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount(filepath.Join(disk, "log"), path, "", unix.MS_BIND, ""); err != nil {
		nvmltest.Unavailable(t, "nothing can be mounted here: "+err.Error())
	}
	if !isMountPoint(path) || isMountPoint(filepath.Join(disk, "log")) {
		t.Error("the mount point is not known")
	}
	write(t, path, fullReport())
	checkReport(t, read(t, path), fullReport())
	if err := os.WriteFile(path, []byte("previous"), 0o600); err != nil { // frees the room
		t.Fatal(err)
	}
	f := create(t, path)
	if err := os.Truncate(path, 8); err != nil { // frees what Create has reserved
		t.Fatal(err)
	}
	fill()
	for when, err := range map[string]error{"at the end": f.Write(fullReport()),
		"at the start": func() error { _, err := Create(path); return err }()} {
		if !errors.Is(err, unix.ENOSPC) || string(read(t, path)) != "previous" {
			t.Errorf("%s: %v, and the file has %.20q", when, err, read(t, path))
		}
	}
}
