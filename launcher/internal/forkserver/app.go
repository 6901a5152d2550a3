//go:build linux

package forkserver

import (
	"archive/zip"
	"os"
	"path/filepath"
	"slices"
)

// HasPythonName reports whether a file's name says that it is a Python script (.py) or a zip
// application (.pyz and .pyzw, see PEP 441).
func HasPythonName(name string) bool {
	return slices.Contains([]string{".py", ".pyz", ".pyzw"}, filepath.Ext(name))
}

// IsPythonApp reports whether Python runs a folder or a zip archive as a program, whatever its name
// is. These are the ones that have a __main__ module
// (https://docs.python.org/3/using/cmdline.html#interface-options).
func IsPythonApp(name string) bool {
	mains := []string{"__main__.py", "__main__.pyc"}
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return false
	case info.IsDir():
		return slices.ContainsFunc(mains, func(main string) bool {
			info, err := os.Stat(filepath.Join(name, main))
			return err == nil && info.Mode().IsRegular()
		})
	case !info.Mode().IsRegular():
		return false // opening a pipe may block
	}
	archive, err := zip.OpenReader(name)
	if err != nil {
		return false
	}
	defer archive.Close()
	return slices.ContainsFunc(archive.File, func(f *zip.File) bool {
		return slices.Contains(mains, f.Name)
	})
}
