package launcher

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// defaultPath is where execvp(3) searches if PATH is not set: confstr(3) has it as _CS_PATH, and
// this is the value of the GNU C library.
const defaultPath = "/bin:/usr/bin"

// searchPath returns the folders of PATH, in which an empty name is the current folder (execvp(3)).
func searchPath() []string {
	path, ok := os.LookupEnv("PATH")
	if !ok {
		path = defaultPath
	}
	return strings.Split(path, ":")
}

// lookPath does what execvp(3) does. It differs from exec.LookPath in this: without PATH it
// searches the default one, it returns fs.ErrPermission for a program that is in PATH and cannot be
// executed, and it finds programs in the current folder if PATH names that folder.
func lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return executable(name)
	}
	err := exec.ErrNotFound
	for _, dir := range searchPath() {
		path := filepath.Join(dir, name)
		if !strings.Contains(path, "/") {
			path = "./" + path
		}
		if _, problem := executable(path); problem == nil && name != "" {
			return path, nil
		}
		// execvp(3) goes on searching, and fails with EACCES if nothing else is found.
		if info, statErr := os.Stat(path); statErr == nil && info.Mode().IsRegular() {
			err = fs.ErrPermission
		}
	}
	return "", err
}

// executable returns the path of a file if it can be executed, and otherwise the reason.
func executable(path string) (string, error) {
	path, err := exec.LookPath(path)
	var e *exec.Error
	if errors.As(err, &e) {
		return "", e.Err
	}
	return path, err
}

// pathHint returns what to do if a program is not in PATH.
func pathHint() string {
	if _, ok := os.LookupEnv("PATH"); !ok {
		return "check the name, or set PATH: without it, " + strings.ReplaceAll(defaultPath, ":",
			" and ") + " are searched"
	}
	return "check the name and the PATH"
}
