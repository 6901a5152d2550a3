package probe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// frameLimit is the largest message in bytes. A sample of 64 GPUs with 1000 processes each takes
// about 3 MiB.
const frameLimit = 16 << 20

// writeFrame sends one message as a frame: four bytes with the length, the most significant one
// first, and the message.
func writeFrame(w io.Writer, message []byte) error {
	if len(message) > frameLimit {
		return frameTooLarge(uint64(len(message)))
	}
	frame := make([]byte, 4, 4+len(message))
	binary.BigEndian.PutUint32(frame, uint32(len(message)))
	_, err := w.Write(append(frame, message...))
	return err
}

// readFrame receives one message. The error is io.EOF only if the stream ends between two frames.
// Memory is allocated as the bytes arrive, so a wrong length costs nothing.
func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > frameLimit {
		return nil, frameTooLarge(uint64(size))
	}
	var body bytes.Buffer
	_, err := io.CopyN(&body, r, int64(size))
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return body.Bytes(), err
}

func frameTooLarge(size uint64) error {
	return fmt.Errorf("a message of %d bytes is over the limit of %d", size, frameLimit)
}
