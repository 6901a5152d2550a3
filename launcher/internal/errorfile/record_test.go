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

func TestParse(t *testing.T) {
	when := time.Unix(1700000000, 0)
	for name, c := range map[string]struct {
		data string
		want Record
	}{
		"an exception": {
			`{"message": {"message": "ValueError: x", "errorCode": 1, "extraInfo": {"py_callstack": "Traceback", "timestamp": "1700000000"}}}`,
			Record{Message: "ValueError: x", Traceback: "Traceback", Time: when, Code: 1}},
		"the short form":             {`{"message": "text", "errorCode": 3, "timestamp": 1700000000}`, Record{Message: "text", Time: when, Code: 3}},
		"only a message":             {`{"message": "text"}`, Record{Message: "text"}},
		"only an exception":          {`{"message": {"message": "text"}}`, Record{Message: "text"}},
		"a signal":                   {`{"message": {"message": "x", "errorCode": -11}}`, Record{Message: "x", Code: -11}},
		"a fraction of a second":     {`{"message": "x", "timestamp": 1700000000.75}`, Record{Message: "x", Time: when}},
		"a fraction as a text":       {`{"message": "x", "timestamp": " 1700000000.75 "}`, Record{Message: "x", Time: when}},
		"a number in an exception":   {`{"message": {"message": "x", "extraInfo": {"timestamp": 17e8}}}`, Record{Message: "x", Time: when}},
		"nulls":                      {`{"message": {"message": "x", "errorCode": null, "extraInfo": null}}`, Record{Message: "x"}},
		"nulls inside":               {`{"message": {"message": "x", "extraInfo": {"py_callstack": null, "timestamp": null}}}`, Record{Message: "x"}},
		"wrong types":                {`{"message": {"message": "x", "errorCode": "1", "extraInfo": [1]}}`, Record{Message: "x"}},
		"wrong types inside":         {`{"message": {"message": "x", "errorCode": 1.5, "extraInfo": {"py_callstack": ["a"], "timestamp": {}}}}`, Record{Message: "x"}},
		"wrong types, short":         {`{"message": "x", "errorCode": [1], "timestamp": [[2]]}`, Record{Message: "x"}},
		"a code that fits nowhere":   {`{"message": "x", "errorCode": 99999999999999999999}`, Record{Message: "x"}},
		"a time before the first":    {`{"message": "x", "timestamp": -5}`, Record{Message: "x"}},
		"a time after the last":      {`{"message": "x", "timestamp": 1e300}`, Record{Message: "x"}},
		"a time that is no number":   {`{"message": "x", "timestamp": "NaN"}`, Record{Message: "x"}},
		"a time without end":         {`{"message": "x", "timestamp": "inf"}`, Record{Message: "x"}},
		"JSON in texts":              {`{"a": "}\\", "b\"": "{[", "message": "\"a\": {\\", "errorCode": 4}`, Record{Message: `"a": {\`, Code: 4}},
		"more fields":                {`{"a": [{"message": "no"}], "message": {"b": {}, "message": "x", "c": 1}, "extraInfo": {"py_callstack": "no"}}`, Record{Message: "x"}},
		"other capitals":             {`{"message": "x", "Message": 5, "ERRORCODE": 3}`, Record{Message: "x"}},
		"the last one counts":        {`{"message": "a", "message": "b"}`, Record{Message: "b"}},
		"another language":           {`{"message": {"message": "x", "extraInfo": {"cpp_callstack": "frame"}}}`, Record{Message: "x", Traceback: "frame"}},
		"texts before other kinds":   {`{"message": {"message": "x", "extraInfo": {"a_callstack": 1, "b_callstack": "frame", "c_callstack": "no"}}}`, Record{Message: "x", Traceback: "frame"}},
		"Python before others":       {`{"message": {"message": "x", "extraInfo": {"cpp_callstack": "no", "py_callstack": "frame"}}}`, Record{Message: "x", Traceback: "frame"}},
		"not UTF-8":                  {"{\"message\": \"a\xff\xfeb\"}", Record{Message: "a\ufffd\ufffdb"}},
		"half a surrogate pair":      {`{"message": "a\udc80b"}`, Record{Message: "a\ufffdb"}},
		"control characters":         {`{"message": "a\u0000\u001b[31m\n"}`, Record{Message: "a\x00\x1b[31m\n"}},
		"space around, deep but not": {" \n{\"x\": " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `, "message": "x"} `, Record{Message: "x"}},
	} {
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
	for name, c := range map[string]struct{ data, want string }{
		"nothing":               {"", "not JSON: unexpected end of JSON input"},
		"cut off":               {`{"message": {"message": "x"`, "not JSON: unexpected end of JSON input"},
		"something after it":    {`{"message": "x"} {`, "not JSON: invalid character '{' after top-level value"},
		"zeros":                 {"\x00\x00", `not JSON: invalid character '\x00' looking for beginning of value`},
		"too deep":              {strings.Repeat("[", 1<<20), `not JSON: invalid character '[' exceeded max depth`},
		"too deep in an object": {`{"message": "x", "a": ` + strings.Repeat(`{"a":`, 1<<17), `not JSON: invalid character '{' exceeded max depth`},
		"no object":             {`["message"]`, "no message in it"},
		"null":                  {`null`, "no message in it"},
		"no message":            {`{"timestamp": 1}`, "no message in it"},
		"a number":              {`{"message": 5}`, "no message in it"},
		"a blank":               {`{"message": " \n"}`, "no message in it"},
		"none inside":           {`{"message": {"extraInfo": {"py_callstack": "x"}}}`, "no message in it"},
		"two levels too deep":   {`{"message": {"message": {"message": "x"}}}`, "no message in it"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Parse([]byte(c.data))
			if r != nil || err == nil || err.Error() != c.want {
				t.Errorf("got %v, %v, want the error %q", r, err, c.want)
			}
		})
	}
}

// TestParseMemory gives Parse the largest files that are read, built to need much
// memory. The bound is for all that is ever allocated, freed or not.
func TestParseMemory(t *testing.T) {
	full := func(start, part, end string) []byte {
		return []byte(start + strings.Repeat(part, (sizeLimit-len(start)-len(end))/len(part)) + end)
	}
	var names strings.Builder
	for i := 0; names.Len() < sizeLimit-100; i++ {
		fmt.Fprintf(&names, `"%x":1,`, i)
	}
	for name, data := range map[string][]byte{
		"deep":             full("", "[", ""),
		"wide":             full(`{"message": "x", "timestamp": [`, `[],`, `0]}`),
		"many names":       []byte(`{"message": {"message": "x", "extraInfo": {` + names.String() + `"a": 1}}}`),
		"many callstacks":  full(`{"message": {"message": "x", "extraInfo": {`, `"callstack":"","callstack":1,`, `"a": 1}}}`),
		"many messages":    full(`{`, `"message":1,`, `"message": "x"}`),
		"a long traceback": full(`{"message": {"message": "x", "extraInfo": {"py_callstack": "`, "\xff", `"}}}`),
		"a long time":      full(`{"message": "x", "timestamp": "`, "1", `"}`),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Parse(data)
		runtime.ReadMemStats(&after)
		used := float64(after.TotalAlloc-before.TotalAlloc) / (1 << 20)
		t.Logf("%s: %.1f MiB (%v)", name, used, err)
		if used > 12 {
			t.Errorf("%s: %.1f MiB allocated", name, used)
		}
	}
}

func TestEncode(t *testing.T) {
	for _, r := range []Record{
		{Message: "x"},
		{Message: "<a> & \u2028", Traceback: "main.main\n\t/x.go:1\n", Time: time.Unix(1700000000, 0), Code: -11},
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
	if data, err := Encode(Record{Message: "x"}); string(data) != `{"message":{"message":"x","extraInfo":{"timestamp":"0"}}}` {
		t.Errorf("an unknown time: %s, %v", data, err)
	}
	if data, err := Encode(Record{Message: " \n"}); err == nil {
		t.Errorf("a blank message became %s", data)
	}
}

// message takes the message out by way of encoding/json's own maps; not ok where names
// may be written with escapes, which only that way understands.
func message(data []byte) (text string, ok bool) {
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
	f.Add([]byte(`{"message": {"message": "ValueError: x", "errorCode": 1, "extraInfo": {"py_callstack": "Traceback", "timestamp": "1700000000"}}}`))
	f.Add([]byte(`{"message": "text", "errorCode": -3, "timestamp": 1700000000.5}`))
	f.Add([]byte(`{"message": {"message": "\ud800<", "extraInfo": {"cpp_callstack": "\u0000", "timestamp": "0x1p4"}}, "message2": [[]]}`))
	f.Add([]byte("{\"message\": \"\xff\", \"message\": null, \"timestamp\": \"1_0\"}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Parse(data)
		if want, ok := message(data); ok && (r == nil) != (strings.TrimSpace(want) == "") || r != nil && ok && r.Message != want {
			t.Errorf("%q became %+v (%v), encoding/json finds the message %q", data, r, err, want)
		}
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("%q is not one harmless line", err)
			}
			return
		}
		if strings.TrimSpace(r.Message) == "" || !utf8.ValidString(r.Message) || !utf8.ValidString(r.Traceback) {
			t.Errorf("%q became %+v", data, r)
		}
		again, err := Encode(*r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}
