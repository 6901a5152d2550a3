package probe

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestFrames(t *testing.T) {
	var stream bytes.Buffer
	for _, message := range []string{"", "{}", "long enough"} {
		if err := writeFrame(&stream, []byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"", "{}", "long enough"} {
		got, err := readFrame(&stream)
		if err != nil || string(got) != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	if _, err := readFrame(&stream); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if err := writeFrame(&stream, make([]byte, frameLimit+1)); err == nil || stream.Len() != 0 {
		t.Errorf("an oversized message was sent: %v", err)
	}
}

func TestBrokenFrames(t *testing.T) {
	for _, stream := range []string{"\x00", "\x00\x00\x00\x05abc"} {
		if _, err := readFrame(bytes.NewBufferString(stream)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v", stream, err)
		}
	}
	if _, err := readFrame(bytes.NewBufferString("\xff\xff\xff\xff")); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("oversized: %v", err)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}"))
	f.Add([]byte("\x01\x00\x00\x00"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, stream []byte) {
		message, err := readFrame(bytes.NewReader(stream))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := writeFrame(&again, message); err != nil || !bytes.HasPrefix(stream, again.Bytes()) {
			t.Errorf("%q was read as %q", stream, message)
		}
	})
}

func FuzzServe(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x13{\"ask\":\"inventory\"}\x00\x00\x00\x10{\"ask\":\"sample\"}"))
	f.Add([]byte("\x00\x00\x00\x02[]"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		serve(bytes.NewReader(stream), io.Discard, cannedProbe{}, func() {})
	})
}
