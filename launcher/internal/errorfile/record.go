// Package errorfile reads what a failed worker has left about its end, and writes it
// the same way.
//
// A worker finds the name of a file in TORCHELASTIC_ERROR_FILE, and PyTorch's @record
// (torch.distributed.elastic.multiprocessing.errors) writes the exception there as
// JSON. The worker runs whatever its user likes, under the launcher's own user, so
// what lies under that name is checked as if an enemy had put it there.
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

// Record is what a worker says about its end. Its texts are valid UTF-8 but may hold
// control characters: whoever prints them has to make them harmless.
type Record struct {
	// Message is never blank.
	Message string `json:"message"`
	// Traceback is empty if the worker left none.
	Traceback string `json:"traceback"`
	// Time is in whole seconds, zero if unknown.
	Time time.Time `json:"time,omitzero"`
	// Code is PyTorch's errorCode: an exit code, or a signal's number negated; 0 if absent.
	Code int `json:"-"`
}

// Parse understands both forms that PyTorch's ErrorHandler knows, that of an exception
// and the short one of other programs:
//
//	{"message": {"message": "ValueError: x", "errorCode": 1,
//	             "extraInfo": {"py_callstack": "Traceback ...", "timestamp": "1700000000"}}}
//	{"message": "x", "errorCode": 1, "timestamp": 1700000000}
//
// Names are matched exactly, the last of equal ones counts (as in Python), and what is
// missing or of another type counts as absent, except for the message.
func Parse(data []byte) (*Record, error) {
	// Checked once and as a whole, so that taking it apart cannot fail. Nesting deeper
	// than 10000 levels is an error here, before anything is built from it.
	if err := json.Unmarshal(data, new(unread)); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
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
		return nil, errors.New("no message in it")
	}
	if r.Traceback == "" {
		r.Traceback = optional[string](extra[otherCallstack])
	}
	return r, nil
}

// fields are the members of an object that matter, by name, not yet decoded.
type fields map[string][]byte

// otherCallstack is the name for the first text under any other name that ends like
// py_callstack: programs in other languages call theirs cpp_callstack and the like.
const otherCallstack = "callstack"

// members takes an object apart, in place, because there may be a hundred thousand
// members and a file shall not need much more memory than its size; nil for anything
// else. data is valid JSON. Names are compared as they are written: nobody writes
// these with escapes.
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

// cut splits what follows an object's brace, comma or colon behind the name or value
// at its start. rest is empty after the object's last value.
func cut(data []byte) (first, rest []byte) {
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

// unread is a value that is checked and not decoded.
type unread struct{}

func (*unread) UnmarshalJSON([]byte) error { return nil }

// optional is a value of the wanted type, or that type's zero: Unmarshal leaves value
// alone if it fails. What is not valid UTF-8, and half a surrogate pair, becomes U+FFFD.
func optional[T string | int](data []byte) (value T) {
	_ = json.Unmarshal(data, &value)
	return value
}

// latest is the end of the year 9999 in Unix time; later times cannot be written down.
const latest = 253402300799

// seconds reads a time in seconds since 1970, a number or a text; zero if it is neither.
// PyTorch takes 0 for an unknown time, too.
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

// Encode writes a record as PyTorch's @record does, so that torchrun understands it as
// well. The time is always there, because torchrun fails without it. The only error is
// a blank message.
func Encode(r Record) ([]byte, error) {
	if strings.TrimSpace(r.Message) == "" {
		return nil, errors.New("a record needs a message")
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
