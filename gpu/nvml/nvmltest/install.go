package nvmltest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Install gives the path of a library that serves a machine, good until the test ends.
func Install(tb testing.TB, m Machine) (libPath string) {
	tb.Helper()
	return InstallIn(tb, tb.TempDir(), m)
}

// InstallIn is [Install] into a folder of the caller's choice.
func InstallIn(tb testing.TB, folder string, m Machine) (libPath string) {
	tb.Helper()
	// A copy, not a link: the loader takes two names of one file for one library.
	code, err := os.ReadFile(Build(tb, m.Missing...))
	if err != nil {
		tb.Fatal(err)
	}
	libPath = filepath.Join(folder, "libnvidia-ml.so.1")
	if err := os.WriteFile(libPath, code, 0o700); err != nil {
		tb.Fatal(err)
	}
	Change(tb, libPath, m)
	return libPath
}

// Change gives an installed library another machine, from the next call on and also where it is already loaded. What
// functions it lacks stays as it was.
func Change(tb testing.TB, libPath string, m Machine) {
	tb.Helper()
	conf := filepath.Join(filepath.Dir(libPath), "machine.conf")
	if err := os.WriteFile(conf+".new", []byte(m.encode()), 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(conf+".new", conf); err != nil {
		tb.Fatal(err)
	}
}

// Calls lists the calls that were made to an installed library whose machine has LogCalls set: the function's name
// and, if it was about a device, its index.
func Calls(tb testing.TB, libPath string) []string {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(filepath.Dir(libPath), "calls"))
	if err != nil && !os.IsNotExist(err) {
		tb.Fatal(err)
	}
	return strings.FieldsFunc(string(data), func(r rune) bool { return r == '\n' })
}
