package stdio

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// prefixLines returns what is written for output that arrives in chunks.
func prefixLines(chunks ...string) string {
	var out bytes.Buffer
	l := &lineCopier{dst: NewSink(&out, nil), prefix: []byte("> ")}
	for _, c := range chunks {
		l.split([]byte(c))
	}
	if len(l.pending) > 0 {
		l.split([]byte{'\n'})
	}
	return out.String()
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for _, c := range []struct {
		in   []string
		want string
	}{
		{[]string{""}, ""},
		{[]string{"a\n"}, "> a\n"},
		{[]string{"a"}, "> a\n"},
		{[]string{"a\n\nb\n"}, "> a\n> \n> b\n"},
		{[]string{"a", "b", "\nc"}, "> ab\n> c\n"},
		{[]string{"a\r\nb\r\n"}, "> a\n> b\n"},
		{[]string{"a\r", "\nb"}, "> a\n> b\n"},
		{[]string{"10%\r20%\r\rdone\n"}, "> 10%\n> 20%\n> done\n"},
		{[]string{"\r\n\r\n"}, ""},
		{[]string{long + "\n"}, "> " + long + "\n"},
		{[]string{long + "y\n"}, "> " + long + "\n> y\n"},
		{[]string{long + long + "\n\n"}, "> " + long + "\n> " + long + "\n> \n"},
		{[]string{"\x00\xff\n"}, "> \x00\xff\n"},
	} {
		if got := prefixLines(c.in...); got != c.want {
			t.Errorf("%.40q: got %.60q, want %.60q", c.in, got, c.want)
		}
	}
}

// FuzzLines checks that the lines are the same however the output is cut into chunks, that each has
// its prefix, and that none is too long.
func FuzzLines(f *testing.F) {
	f.Add("a\r\n\nb", 1)
	f.Add(strings.Repeat("z", maxLine+3)+"\n\r", 7)
	f.Fuzz(func(t *testing.T, text string, at int) {
		whole := prefixLines(text)
		if len(text) > 0 {
			at = (at%len(text) + len(text)) % len(text)
			if parts := prefixLines(text[:at], text[at:]); parts != whole {
				t.Errorf("cut at %d: %q instead of %q", at, parts, whole)
			}
		}
		for _, line := range strings.SplitAfter(whole, "\n") {
			if line != "" && (!strings.HasPrefix(line, "> ") || !strings.HasSuffix(line, "\n") ||
				len(line) > maxLine+3) {
				t.Errorf("line %.80q", line)
			}
		}
	})
}

type brokenWriter struct{ calls int }

func (b *brokenWriter) Write([]byte) (int, error) { b.calls++; return 0, errors.New("broken") }

func TestSinkReportsFailureOnce(t *testing.T) {
	w, reported := &brokenWriter{}, 0
	s := NewSink(w, func(error) { reported++ })
	for range 3 {
		if n, err := s.Write([]byte("abc")); n != 3 || err != nil {
			t.Errorf("%d %v", n, err)
		}
	}
	if w.calls != 1 || reported != 1 {
		t.Errorf("written %d times, reported %d times", w.calls, reported)
	}
}
