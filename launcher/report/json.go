package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// encode is the report as indented JSON, with what a terminal might obey escaped.
func encode(r Report) ([]byte, error) {
	if r.Workers == nil {
		r.Workers = []Worker{} // a list for programs, never null
	}
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false) // tracebacks say <module>
	if err := e.Encode(r); err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, c := range plain.String() {
		if c != '\n' && harmful(c) { // only in strings, and below U+10000
			fmt.Fprintf(&b, `\u%04x`, c)
		} else {
			b.WriteRune(c)
		}
	}
	return []byte(b.String()), nil
}
