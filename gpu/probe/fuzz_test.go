package probe

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/gpulaunch/gpulaunch/gpu"
)

// FuzzParseVersion checks that a driver's version consists of numbers with dots between them, and
// is a word of the line that has it.
func FuzzParseVersion(f *testing.F) {
	for _, text := range []string{
		"NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n",
		"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.161.08  Release Build\n",
		"GCC version: 12.3\nNVRM version: 1. .2 3..4 5.6\n", "NVRM version:", "",
		"NVRM version:1.2",
		"NVRM version: 99999999999.1 1.2\n", "NVRM version: +1.2 1_0.2 ٣.١\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		version := parseVersion(text)
		if version == "" {
			return
		}
		if strings.Trim(version, "0123456789.") != "" || !strings.Contains(version, ".") ||
			strings.Contains("."+version+".", "..") {
			t.Errorf("%q is the version in %q", version, text)
		}
		found := slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
			return strings.HasPrefix(line, "NVRM version:") &&
				slices.Contains(strings.Fields(line), version)
		})
		if !found {
			t.Errorf("%q is no word of %q", version, text)
		}
	})
}

// FuzzCrashNotes checks that the line that explains a crash is the same however the output is cut
// into pieces, is short and can be printed, and that the output is passed on as it is.
func FuzzCrashNotes(f *testing.F) {
	f.Add("x\nSIGSEGV: at x\nPC=1\n", 3)
	f.Add("fatal error: \x1b[1mbold\xff\n", 0)
	f.Add("panic: "+strings.Repeat("ä", crashLineLimit)+"\n", 9)
	f.Add(strings.Repeat("x", crashLineLimit)+"panic: \n", crashLineLimit)
	f.Add("Error: \r\n\x00SIG\n", 1)
	f.Fuzz(func(t *testing.T, output string, at int) {
		at = min(max(at, 0), len(output))
		var copied bytes.Buffer
		whole, parts := &crashNotes{}, &crashNotes{to: &copied}
		whole.Write([]byte(output))
		parts.Write([]byte(output[:at]))
		parts.Write([]byte(output[at:]))
		note := whole.summary()
		if got := parts.summary(); got != note {
			t.Errorf("%q cut at %d explains the crash with %q instead of %q", output, at, got, note)
		}
		if copied.String() != output {
			t.Errorf("%q is passed on as %q", output, copied.String())
		}
		if len(note) > crashLineLimit || !utf8.ValidString(note) ||
			strings.ContainsFunc(note, unicode.IsControl) {
			t.Errorf("%q explains the crash with %q", output, note)
		}
	})
}

// FuzzReceive checks that whatever a child sends on the pipe for events, those that are passed on
// count something, and no reason why there are none is passed on twice in a row.
func FuzzReceive(f *testing.F) {
	frames := func(messages ...any) []byte {
		var b bytes.Buffer
		for _, m := range messages {
			text, err := json.Marshal(m)
			if err == nil {
				err = writeFrame(&b, text)
			}
			if err != nil {
				f.Fatal(err)
			}
		}
		return b.Bytes()
	}
	event := &gpu.Event{UUID: "GPU-0", Kind: gpu.EventXID, XID: 79, Count: 1}
	f.Add(frames(eventMessage{Event: event}, eventMessage{NoEvents: "a"},
		eventMessage{NoEvents: "a"}, eventMessage{Event: event, NoEvents: "b"}))
	f.Add(frames(eventMessage{Event: &gpu.Event{}}, eventMessage{}, []int{1}, "x", nil))
	f.Add(frames(map[string]any{"event": map[string]any{"count": -1, "xid": 1e300}}))
	f.Add([]byte("\x00\x00\x00\x09not JSON!\x00\x00"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		l, last := &listener{}, ""
		l.receive(bytes.NewReader(stream), func(e gpu.Event) {
			if e.Count == 0 {
				t.Errorf("%q passes on an event that counts nothing: %+v", stream, e)
			}
		}, func(reason string) {
			if reason == "" || reason == last {
				t.Errorf("%q passes on the reason %q after %q", stream, reason, last)
			}
			last = reason
		})
		l.close()
		l.call(func() { t.Errorf("%q: a call after the end", stream) })
	})
}
