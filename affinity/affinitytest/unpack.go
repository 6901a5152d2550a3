package affinitytest

import (
	"archive/tar"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/gpulaunch/gpulaunch/affinity/internal/rootfs"
)

// unpack writes the files and symbolic links of an archive below dir.
func unpack(file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	var content io.Reader = bzip2.NewReader(f)
	if strings.HasSuffix(file, ".gz") {
		if content, err = gzip.NewReader(f); err != nil {
			return err
		}
	}
	root, err := rootfs.Open(dir, rootfs.Native())
	if err != nil {
		return err
	}
	defer root.Close()
	archive := tar.NewReader(content)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := unpackEntry(root, header, archive); err != nil {
			return err
		}
	}
}

func unpackEntry(root *rootfs.FS, header *tar.Header, content io.Reader) error {
	name := path.Clean(header.Name)
	if header.Typeflag == tar.TypeDir {
		return root.MkdirAll(name)
	}
	if err := root.MkdirAll(path.Dir(name)); err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeSymlink:
		// Some archives have a link twice.
		if err := root.Symlink(header.Linkname, name); !errors.Is(err, fs.ErrExist) {
			return err
		}
	case tar.TypeReg:
		file, err := root.Create(name)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, content)
		return errors.Join(err, file.Close())
	}
	return nil
}
