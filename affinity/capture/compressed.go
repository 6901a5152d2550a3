package capture

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// decompress returns the tar archive in a stream. It recognizes the compression by the first bytes.
func decompress(in io.Reader) (io.Reader, error) {
	buffered := bufio.NewReader(in)
	start, err := buffered.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(start, []byte("\x1f\x8b")):
		zip, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, damaged(err)
		}
		return zip, nil
	case bytes.HasPrefix(start, []byte("BZh")):
		return bzip2.NewReader(buffered), nil
	case bytes.HasPrefix(start, []byte("\xfd7zXZ\x00")):
		return nil, errCompressed("xz")
	case bytes.HasPrefix(start, []byte("\x28\xb5\x2f\xfd")):
		return nil, errCompressed("zstd")
	case bytes.HasPrefix(start, []byte("PK")):
		return nil, errors.New("it is a zip file; unpack it first, with unzip, and give the folder")
	}
	return buffered, nil
}

func errCompressed(tool string) error {
	return fmt.Errorf("it is compressed with %s, which this program cannot read; unpack it first: "+
		"%s -d FILE", tool, tool)
}

func damaged(err error) error {
	return fmt.Errorf("it is damaged or not a tar archive (%w); get it again", err)
}

// limitedReader is a stream that fails if it has more bytes than it may have. It also counts the
// zeros at the end.
type limitedReader struct {
	in        io.Reader
	limit     int64
	remaining int64
	zeros     int64
}

func (r *limitedReader) Read(p []byte) (int, error) {
	// One more byte than remains shows whether the stream goes on.
	if int64(len(p)) > r.remaining+1 {
		p = p[:r.remaining+1]
	}
	n, err := r.in.Read(p)
	if r.remaining -= int64(n); r.remaining < 0 {
		return 0, errTooManyBytes(r.limit)
	}
	if zeros := n - len(bytes.TrimRight(p[:n], "\x00")); zeros < n {
		r.zeros = int64(zeros)
	} else {
		r.zeros += int64(n)
	}
	return n, err
}
