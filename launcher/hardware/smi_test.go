//go:build linux

package hardware

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const smiName = "nvidia-smi"

// row is what nvidia-smi says about one GPU or process, by the names of the fields (nvidia-smi
// --help-query-gpu).
type row map[string]string

// known returns the value of a field, or "" if nvidia-smi does not know it. It writes the reason
// instead: [N/A], [Not Supported] or [Insufficient Permissions].
func (r row) known(field string) string {
	value := r[field]
	if value == "N/A" || strings.HasPrefix(value, "[") {
		return ""
	}
	return value
}

// number returns the value of a field as a number, and false if it is unknown or not a number.
func (r row) number(field string) (float64, bool) {
	n, err := strconv.ParseFloat(r.known(field), 64)
	return n, err == nil
}

// invalidField matches the error of nvidia-smi for a field that it does not know.
var invalidField = regexp.MustCompile(`Field "([^"]+)" is not a valid field to query`)

// query asks nvidia-smi for fields. what is "gpu" or "compute-apps". Fields that this nvidia-smi
// does not know are left out of the rows.
func (r rig) query(what string, fields ...string) ([]row, error) {
	for {
		out, err := r.smiSays("--query-"+what+"="+strings.Join(fields, ","),
			"--format=csv,noheader,nounits")
		m := invalidField.FindStringSubmatch(out)
		if m != nil && len(fields) > 1 && slices.Contains(fields, m[1]) {
			fields = slices.Clone(fields)
			fields = slices.DeleteFunc(fields, func(f string) bool { return f == m[1] })
			continue
		}
		if err != nil {
			return nil, err
		}
		return parseRows(out, fields)
	}
}

// smiSays runs nvidia-smi and returns its standard output.
func (r rig) smiSays(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, r.smi, args...).Output()
	if err != nil {
		said := string(out)
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			said += string(exit.Stderr)
		}
		err = fmt.Errorf("%s %s: %w: %s",
			r.smi, strings.Join(args, " "), err, strings.TrimSpace(said))
	}
	return string(out), err
}

// parseRows reads the format csv,noheader,nounits: one line per row, values separated by commas.
func parseRows(text string, fields []string) ([]row, error) {
	var rows []row
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		values := strings.Split(line, ",")
		if len(values) != len(fields) {
			return nil, fmt.Errorf("nvidia-smi printed %d values for the %d fields %s: %q",
				len(values), len(fields), strings.Join(fields, ","), line)
		}
		r := row{}
		for i, value := range values {
			r[fields[i]] = strings.TrimSpace(value)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// headerVersion matches the CUDA version in the first line of nvidia-smi's table.
var headerVersion = regexp.MustCompile(`CUDA (?:UMD )?Version\s*:\s*(\d+\.\d+)`)

// cudaVersion returns the newest CUDA version that the driver supports according to nvidia-smi, or
// "".
func cudaVersion(table string) string {
	m := headerVersion.FindStringSubmatch(table)
	if m == nil {
		return ""
	}
	return m[1]
}
