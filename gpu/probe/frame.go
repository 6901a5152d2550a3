package probe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// frameLimit bounds one message. A sample of 64 GPUs with 1000 processes each has about 3 MiB.
const frameLimit = 16 << 20

// writeFrame sends one message: its length in four bytes, most significant first, then itself.
func writeFrame(w io.Writer, message []byte) error {
	if len(message) > frameLimit {
		return fmt.Errorf("message of %d bytes is over the limit of %d", len(message), frameLimit)
	}
	frame := make([]byte, 4, 4+len(message))
	binary.BigEndian.PutUint32(frame, uint32(len(message)))
	_, err := w.Write(append(frame, message...))
	return err
}

// readFrame receives one message. The error is io.EOF only where the stream ends between two messages. Memory is taken
// as bytes arrive, so a length that lies costs nothing.
func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > frameLimit {
		return nil, fmt.Errorf("message of %d bytes is over the limit of %d", size, frameLimit)
	}
	var body bytes.Buffer
	_, err := io.CopyN(&body, r, int64(size))
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return body.Bytes(), err
}
