package probe

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestFrames(t *testing.T) {
	var stream bytes.Buffer
	messages := []string{"", "{}", "long enough"}
	for _, message := range messages {
		if err := writeFrame(&stream, []byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range messages {
		got, err := readFrame(&stream)
		if err != nil || string(got) != want {
			t.Errorf("read %q, %v; want %q", got, err, want)
		}
	}
	if _, err := readFrame(&stream); err != io.EOF {
		t.Errorf("reading at the end gives %v, want io.EOF", err)
	}
	if err := writeFrame(&stream, make([]byte, frameLimit+1)); err == nil {
		t.Error("writing an oversized message gives no error")
	}
	if n := stream.Len(); n != 0 {
		t.Errorf("%d bytes of an oversized message were written", n)
	}
}

func TestBrokenFrames(t *testing.T) {
	for _, stream := range []string{"\x00", "\x00\x00\x00\x05abc"} {
		_, err := readFrame(bytes.NewBufferString(stream))
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("reading %q gives %v, want io.ErrUnexpectedEOF", stream, err)
		}
	}
	_, err := readFrame(bytes.NewBufferString("\xff\xff\xff\xff"))
	if err == nil || errors.Is(err, io.EOF) {
		t.Errorf("reading an oversized length gives %v, want another error than io.EOF", err)
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
		if err := writeFrame(&again, message); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(stream, again.Bytes()) {
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
