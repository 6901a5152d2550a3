// Package errorfile reads the error files that failed workers leave, and writes such files.
//
// TORCHELASTIC_ERROR_FILE holds the name of a worker's error file. PyTorch's @record
// (torch.distributed.elastic.multiprocessing.errors) writes the worker's exception to it as
// JSON, and package worker does the same for Go programs.
//
// A worker runs arbitrary code as the user who started the launcher, so package errorfile does
// not trust the file or the folder that it is in. It starts no goroutines.
package errorfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Record is the content of an error file. The texts are valid UTF-8, but they may contain control
// characters, which must be escaped before the texts are printed. The JSON form is the one in
// reports, and not the one in error files: see [Encode].
type Record struct {
	// Message is never blank.
	Message string `json:"message"`
	// Traceback is "" if the file has none.
	Traceback string `json:"traceback"`
	// Time is in whole seconds, and zero if unknown.
	Time time.Time `json:"time,omitzero"`
	// Code is PyTorch's errorCode: an exit code or a negated signal number, 0 if absent.
	Code int `json:"-"`
}

// Parse reads the two forms that PyTorch's ErrorHandler knows. The first describes an exception,
// the second is a short form for other programs:
//
//	{"message": {"message": "ValueError: x", "errorCode": 1,
//	             "extraInfo": {"py_callstack": "Traceback ...", "timestamp": "1700000000"}}}
//	{"message": "x", "errorCode": 1, "timestamp": 1700000000}
//
// Names must match exactly, and if a name occurs twice, the last value counts, as in Python. A
// value that is missing or has the wrong type is treated as absent. Only the message is required.
//
// Errors complete the sentence "rank 1's error file cannot be used: …".
func Parse(data []byte) (*Record, error) {
	// This checks the whole text, so the functions below can rely on valid JSON. It also refuses
	// more than 10000 levels of nesting before any memory is spent on them.
	if err := json.Unmarshal(data, new(syntaxOnly)); err != nil {
		return nil, fmt.Errorf("it is not JSON: %w", err)
	}
	record, extra := members(data), fields{}
	if inner := members(record["message"]); inner != nil {
		record, extra = inner, members(inner["extraInfo"])
	} else {
		extra["timestamp"] = record["timestamp"]
	}
	r := &Record{
		Message:   optional[string](record["message"]),
		Traceback: optional[string](extra["py_callstack"]),
		Time:      seconds(extra["timestamp"]),
		Code:      optional[int](record["errorCode"]),
	}
	if strings.TrimSpace(r.Message) == "" {
		return nil, errors.New("it contains no message")
	}
	if r.Traceback == "" {
		r.Traceback = optional[string](extra[otherCallstack])
	}
	return r, nil
}

// fields maps the names of an object's members to their values, which are not decoded yet. It
// holds only the members that Parse uses.
type fields map[string][]byte

// otherCallstack is the key in fields for the first text whose name ends with "callstack" and is
// not py_callstack. Programs in other languages use names such as cpp_callstack.
const otherCallstack = "callstack"

// members returns the members of a JSON object that matter, and nil if data is not an object.
// data must be valid JSON.
//
// It takes the object apart in place: a file may have a hundred thousand members, and parsing it
// should not need much more memory than its size. Names are compared as they are written,
// because no program writes the names that matter with escapes.
func members(data []byte) fields {
	rest, ok := bytes.CutPrefix(bytes.TrimSpace(data), []byte{'{'})
	if !ok {
		return nil
	}
	found := fields{}
	for len(rest) > 0 {
		var quoted, value []byte
		quoted, rest = cut(rest)
		value, rest = cut(rest)
		switch name := string(bytes.Trim(quoted, `"`)); name {
		case "message", "errorCode", "extraInfo", "timestamp", "py_callstack":
			found[name] = value
		default:
			text := bytes.HasPrefix(value, []byte{'"'})
			if text && found[otherCallstack] == nil && strings.HasSuffix(name, otherCallstack) {
				found[otherCallstack] = value
			}
		}
	}
	return found
}

// cut returns the name or value at the start of data, and the rest behind the colon or comma that
// follows it. data is what follows an opening brace, a comma or a colon in an object. rest is
// empty after the last value.
func cut(data []byte) (token, rest []byte) {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case (c == '}' || c == ']') && depth > 0:
			depth--
		case c == '}':
			return bytes.TrimSpace(data[:i]), nil
		case (c == ',' || c == ':') && depth == 0:
			return bytes.TrimSpace(data[:i]), data[i+1:]
		}
	}
	return nil, nil
}

// syntaxOnly is a target for json.Unmarshal that checks the syntax and decodes nothing.
type syntaxOnly struct{}

func (*syntaxOnly) UnmarshalJSON([]byte) error { return nil }

// optional decodes a value, and returns the zero value if it is missing or has another type.
// Unmarshal replaces invalid UTF-8 and unpaired surrogates by U+FFFD.
func optional[T string | int](data []byte) (value T) {
	_ = json.Unmarshal(data, &value) // leaves value alone if it fails
	return value
}

// latest is the end of the year 9999 in Unix time. time.Time cannot encode later years as JSON.
const latest = 253402300799

// seconds decodes a Unix time that is written as a number or as a text. It returns the zero time
// for anything else and also for 0, which PyTorch uses for an unknown time.
func seconds(data []byte) time.Time {
	text := optional[string](data)
	if text == "" {
		text = string(data)
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || !(n >= 1 && n <= latest) {
		return time.Time{}
	}
	return time.Unix(int64(n), 0)
}

// Encode returns the record as PyTorch's @record would write it, so torchrun can read it as well.
// It always writes a timestamp, because torchrun fails without one. It fails only if the message
// is blank.
func Encode(r Record) ([]byte, error) {
	if strings.TrimSpace(r.Message) == "" {
		return nil, errors.New("cannot encode a record without a message")
	}
	type extraInfo struct {
		Callstack string `json:"py_callstack,omitempty"`
		Timestamp string `json:"timestamp"`
	}
	type exception struct {
		Message   string    `json:"message"`
		ErrorCode int       `json:"errorCode,omitempty"`
		ExtraInfo extraInfo `json:"extraInfo"`
	}
	var unix int64
	if !r.Time.IsZero() {
		unix = r.Time.Unix()
	}
	return json.Marshal(map[string]exception{"message": {
		Message:   r.Message,
		ErrorCode: r.Code,
		ExtraInfo: extraInfo{Callstack: r.Traceback, Timestamp: strconv.FormatInt(unix, 10)},
	}})
}
