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

// decompress returns the tar archive in a stream. What it is shows in its first bytes.
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
	return fmt.Errorf("it is compressed with %s, which this program does not read; unpack it first: %s -d FILE", tool, tool)
}

func damaged(err error) error {
	return fmt.Errorf("it is damaged, or no tar archive (%w); get it again", err)
}

// bounded is a stream that fails, rather than ends, when there is more than left. It counts the zeros at its end.
type bounded struct {
	in    io.Reader
	left  int64
	most  int64
	zeros int64
}

func (b *bounded) Read(p []byte) (int, error) {
	// One byte more than is left shows whether the stream goes on.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.in.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooMuch(b.most)
	}
	if zeros := n - len(bytes.TrimRight(p[:n], "\x00")); zeros < n {
		b.zeros = int64(zeros)
	} else {
		b.zeros += int64(n)
	}
	return n, err
}
