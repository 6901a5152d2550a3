package nvmltest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Install returns the path of a library that serves the machine until the test ends.
func Install(tb testing.TB, m Machine) (libPath string) {
	tb.Helper()
	return InstallIn(tb, tb.TempDir(), m)
}

// InstallIn is like [Install], with a folder of the caller's choice.
func InstallIn(tb testing.TB, folder string, m Machine) (libPath string) {
	tb.Helper()
	// A copy and not a link, because the loader takes two names of one file for one library.
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

// Change gives an installed library another machine. It takes effect at the next call, also in
// processes that have loaded the library already. The functions that the library lacks stay the
// same.
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

// Calls returns the calls that were made to an installed library whose machine has LogCalls set.
// Each is the name of a function, followed by the index of the device if it was about one.
func Calls(tb testing.TB, libPath string) []string {
	tb.Helper()
	calls, err := readCalls(libPath)
	if err != nil {
		tb.Fatal(err)
	}
	return calls
}

// CountCalls returns how many times a call has been made to such a library. The call is the name of
// a function, "nvmlDeviceGetName", or a name and the index of a device, "nvmlDeviceGetName 3".
func CountCalls(tb testing.TB, libPath, call string) int {
	tb.Helper()
	return count(Calls(tb, libPath), call)
}

func count(calls []string, call string) (n int) {
	for _, c := range calls {
		if c == call || strings.HasPrefix(c, call+" ") {
			n++
		}
	}
	return n
}

// Functions returns the functions among calls, each once and sorted.
func Functions(calls []string) (list []string) {
	for _, call := range calls {
		name, _, _ := strings.Cut(call, " ")
		list = append(list, name)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func readCalls(libPath string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(filepath.Dir(libPath), "calls"))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return strings.FieldsFunc(string(data), func(r rune) bool { return r == '\n' }), nil
}
