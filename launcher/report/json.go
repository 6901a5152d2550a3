package report

import (
	"bytes"
	"encoding/json"

	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// encode returns the report as indented JSON. What a terminal would obey is escaped.
func encode(r Report) ([]byte, error) {
	if r.Workers == nil {
		r.Workers = []Worker{} // programs expect a list, not null
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false) // tracebacks have <module> in them
	if err := e.Encode(r); err != nil {
		return nil, err
	}
	return terminal.EscapeJSON(b.Bytes()), nil
}
