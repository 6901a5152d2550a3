package errorfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// exception is an error file in the form for exceptions. inner is what follows its message.
func exception(inner string) string {
	return `{"message": {"message": "x"` + inner + `}}`
}

// deep is a value that is nested n levels deep.
func deep(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

var parsed = map[string]struct {
	data string
	want Record
}{
	"an exception": {
		exception(`, "errorCode": 1, "extraInfo": ` +
			`{"py_callstack": "Traceback", "timestamp": "1700000000"}`),
		Record{Message: "x", Traceback: "Traceback", Time: time.Unix(1700000000, 0), Code: 1}},
	"the short form": {`{"message": "x", "errorCode": 3, "timestamp": 1700000000}`,
		Record{Message: "x", Time: time.Unix(1700000000, 0), Code: 3}},
	"only a message":                  {`{"message": "x"}`, Record{Message: "x"}},
	"only a message, as an exception": {exception(""), Record{Message: "x"}},
	"a signal": {exception(`, "errorCode": -11`),
		Record{Message: "x", Code: -11}},

	"a fractional time": {`{"message": "x", "timestamp": 1700000000.75}`,
		Record{Message: "x", Time: time.Unix(1700000000, 0)}},
	"a fractional time as a text": {`{"message": "x", "timestamp": " 1700000000.75 "}`,
		Record{Message: "x", Time: time.Unix(1700000000, 0)}},
	"an exception's time as a number": {exception(`, "extraInfo": {"timestamp": 17e8}`),
		Record{Message: "x", Time: time.Unix(1700000000, 0)}},
	"a negative time":  {`{"message": "x", "timestamp": -5}`, Record{Message: "x"}},
	"a time too large": {`{"message": "x", "timestamp": 1e300}`, Record{Message: "x"}},
	"not a number":     {`{"message": "x", "timestamp": "NaN"}`, Record{Message: "x"}},
	"an infinite time": {`{"message": "x", "timestamp": "inf"}`, Record{Message: "x"}},

	"nulls": {exception(`, "errorCode": null, "extraInfo": null`), Record{Message: "x"}},
	"inner nulls": {exception(`, "extraInfo": {"py_callstack": null, "timestamp": null}`),
		Record{Message: "x"}},
	"wrong types": {exception(`, "errorCode": "1", "extraInfo": [1]`), Record{Message: "x"}},
	"inner wrong types": {
		exception(`, "errorCode": 1.5, "extraInfo": {"py_callstack": ["a"], "timestamp": {}}`),
		Record{Message: "x"}},
	"wrong types in the short form": {`{"message": "x", "errorCode": [1], "timestamp": [[2]]}`,
		Record{Message: "x"}},
	"a code too large": {`{"message": "x", "errorCode": 99999999999999999999}`,
		Record{Message: "x"}},

	"JSON in texts": {`{"a": "}\\", "b\"": "{[", "message": "\"a\": {\\", "errorCode": 4}`,
		Record{Message: `"a": {\`, Code: 4}},
	"unknown members": {
		`{"a": [{"message": "no"}], "message": {"b": {}, "message": "x", "c": 1}, ` +
			`"extraInfo": {"py_callstack": "no"}}`,
		Record{Message: "x"}},
	"other capitals":     {`{"message": "x", "Message": 5, "ERRORCODE": 3}`, Record{Message: "x"}},
	"a repeated message": {`{"message": "a", "message": "b"}`, Record{Message: "b"}},
	"a deep nesting": {" \n{\"x\": " + deep(9000) + `, "message": "x"} `,
		Record{Message: "x"}},

	"a call stack of another language": {exception(`, "extraInfo": {"cpp_callstack": "frame"}`),
		Record{Message: "x", Traceback: "frame"}},
	"several call stacks, the first a number": {
		exception(`, "extraInfo": {"a_callstack": 1, "b_callstack": "frame", "c_callstack": "no"}`),
		Record{Message: "x", Traceback: "frame"}},
	"call stacks of Python and of another language": {
		exception(`, "extraInfo": {"cpp_callstack": "no", "py_callstack": "frame"}`),
		Record{Message: "x", Traceback: "frame"}},

	"invalid UTF-8": {"{\"message\": \"a\xff\xfeb\"}",
		Record{Message: "a\ufffd\ufffdb"}},
	"half of a surrogate pair": {`{"message": "a\udc80b"}`, Record{Message: "a\ufffdb"}},
	"control characters": {`{"message": "a\u0000\u001b[31m\n"}`,
		Record{Message: "a\x00\x1b[31m\n"}},
}

func TestParse(t *testing.T) {
	for name, c := range parsed {
		t.Run(name, func(t *testing.T) {
			got, err := Parse([]byte(c.data))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, *got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const (
		noMessage = "it contains no message"
		notJSON   = "it is not JSON: "
		tooDeep   = notJSON + "invalid character '%c' exceeded max depth"
	)
	nested := strings.Repeat(`{"a":`, 1<<17)
	for name, c := range map[string]struct{ data, want string }{
		"nothing":   {"", notJSON + "unexpected end of JSON input"},
		"truncated": {exception("")[:20], notJSON + "unexpected end of JSON input"},
		"two values": {`{"message": "x"} {`,
			notJSON + "invalid character '{' after top-level value"},
		"zeros": {"\x00\x00",
			notJSON + `invalid character '\x00' looking for beginning of value`},
		"arrays too deep":  {strings.Repeat("[", 1<<20), fmt.Sprintf(tooDeep, '[')},
		"objects too deep": {`{"message": "x", "a": ` + nested, fmt.Sprintf(tooDeep, '{')},

		"an array":        {`["message"]`, noMessage},
		"null":            {`null`, noMessage},
		"no message":      {`{"timestamp": 1}`, noMessage},
		"a number":        {`{"message": 5}`, noMessage},
		"a blank message": {`{"message": " \n"}`, noMessage},
		"an exception without a message": {
			`{"message": {"extraInfo": {"py_callstack": "x"}}}`, noMessage},
		"a message too deep": {`{"message": {"message": {"message": "x"}}}`, noMessage},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Parse([]byte(c.data))
			if r != nil || err == nil || err.Error() != c.want {
				t.Errorf("Parse returns %v, %v, want the error %q", r, err, c.want)
			}
		})
	}
}

// TestParseMemory parses files of the largest size, made to need much memory. The limit is for
// all memory that is ever allocated, whether or not it is freed.
func TestParseMemory(t *testing.T) {
	full := func(start, part, end string) []byte {
		return []byte(start + strings.Repeat(part, (sizeLimit-len(start)-len(end))/len(part)) + end)
	}
	const extra = `{"message": {"message": "x", "extraInfo": {`
	var names strings.Builder
	for i := 0; names.Len() < sizeLimit-100; i++ {
		fmt.Fprintf(&names, `"%x":1,`, i)
	}
	for name, data := range map[string][]byte{
		"deep":             full("", "[", ""),
		"wide":             full(`{"message": "x", "timestamp": [`, `[],`, `0]}`),
		"many names":       []byte(extra + names.String() + `"a": 1}}}`),
		"many call stacks": full(extra, `"callstack":"","callstack":1,`, `"a": 1}}}`),
		"many messages":    full(`{`, `"message":1,`, `"message": "x"}`),
		"a long traceback": full(extra+`"py_callstack": "`, "\xff", `"}}}`),
		"a long time":      full(`{"message": "x", "timestamp": "`, "1", `"}`),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Parse(data)
		runtime.ReadMemStats(&after)
		used := float64(after.TotalAlloc-before.TotalAlloc) / (1 << 20)
		t.Logf("%s: %.1f MiB (%v)", name, used, err)
		if used > 12 {
			t.Errorf("%s: Parse allocated %.1f MiB, want at most 12", name, used)
		}
	}
}

func TestEncode(t *testing.T) {
	for _, r := range []Record{
		{Message: "x"},
		{Message: "<a> & \u2028", Traceback: "main.main\n\t/x.go:1\n",
			Time: time.Unix(1700000000, 0), Code: -11},
	} {
		data, err := Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, *got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
	const want = `{"message":{"message":"x","extraInfo":{"timestamp":"0"}}}`
	if data, err := Encode(Record{Message: "x"}); string(data) != want {
		t.Errorf("without a time, Encode returns %s, %v, want %s", data, err, want)
	}
	if data, err := Encode(Record{Message: " \n"}); err == nil {
		t.Errorf("Encode encodes a blank message as %s, want an error", data)
	}
}

// decodedMessage finds the message with encoding/json's own maps. ok is false if names may be
// written with escapes, which Parse does not decode.
func decodedMessage(data []byte) (text string, ok bool) {
	var top map[string]any
	if bytes.Contains(data, []byte(`\u00`)) {
		return "", false
	}
	if !json.Valid(data) || json.Unmarshal(data, &top) != nil {
		return "", true
	}
	switch m := top["message"].(type) {
	case string:
		return m, true
	case map[string]any:
		text, _ = m["message"].(string)
	}
	return text, true
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(exception(`, "errorCode": 1, ` +
		`"extraInfo": {"py_callstack": "Traceback", "timestamp": "1700000000"}`)))
	f.Add([]byte(`{"message": "text", "errorCode": -3, "timestamp": 1700000000.5}`))
	f.Add([]byte(`{"message": {"message": "\ud800<", ` +
		`"extraInfo": {"cpp_callstack": "\u0000", "timestamp": "0x1p4"}}, "message2": [[]]}`))
	f.Add([]byte("{\"message\": \"\xff\", \"message\": null, \"timestamp\": \"1_0\"}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Parse(data)
		if want, ok := decodedMessage(data); ok {
			blank := strings.TrimSpace(want) == ""
			if (r == nil) != blank || r != nil && r.Message != want {
				t.Errorf("Parse(%q) is %+v, %v, but encoding/json finds the message %q",
					data, r, err, want)
			}
		}
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("the error %q is not one line without escape sequences", err)
			}
			return
		}
		if strings.TrimSpace(r.Message) == "" ||
			!utf8.ValidString(r.Message) || !utf8.ValidString(r.Traceback) {
			t.Errorf("Parse(%q) is %+v, with a blank message or invalid UTF-8", data, r)
		}
		again, err := Encode(*r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(again)
		if err != nil {
			t.Fatalf("Parse refuses what Encode has written (%v): %s", err, again)
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}
