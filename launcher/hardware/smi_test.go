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

// row is what nvidia-smi says of one GPU or process, by the names of its fields
// (nvidia-smi --help-query-gpu).
type row map[string]string

// known gives a field's value, and "" for one that nvidia-smi does not know: it
// then writes why, as [N/A], [Not Supported] or [Insufficient Permissions].
func (r row) known(field string) string {
	value := r[field]
	if value == "N/A" || strings.HasPrefix(value, "[") {
		return ""
	}
	return value
}

// number is a field that is one, and false if it is unknown or makes no sense.
func (r row) number(field string) (float64, bool) {
	n, err := strconv.ParseFloat(r.known(field), 64)
	return n, err == nil
}

// invalidField matches what nvidia-smi says of a field that is too new for it.
var invalidField = regexp.MustCompile(`Field "([^"]+)" is not a valid field to query`)

// query asks nvidia-smi about what, "gpu" or "compute-apps". Fields that it has
// never heard of are left out of the rows.
func (r rig) query(what string, fields ...string) ([]row, error) {
	for {
		out, err := r.smiSays("--query-"+what+"="+strings.Join(fields, ","), "--format=csv,noheader,nounits")
		if m := invalidField.FindStringSubmatch(out); m != nil && len(fields) > 1 && slices.Contains(fields, m[1]) {
			fields = slices.DeleteFunc(slices.Clone(fields), func(f string) bool { return f == m[1] })
			continue
		}
		if err != nil {
			return nil, err
		}
		return parseRows(out, fields)
	}
}

// smiSays runs nvidia-smi and gives its standard output.
func (r rig) smiSays(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, r.smi, args...).Output()
	if err != nil {
		said := string(out)
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			said += string(exit.Stderr)
		}
		err = fmt.Errorf("%s %s: %w: %s", r.smi, strings.Join(args, " "), err, strings.TrimSpace(said))
	}
	return string(out), err
}

// parseRows reads csv,noheader,nounits: a line for each, values between commas.
func parseRows(text string, fields []string) ([]row, error) {
	var rows []row
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		values := strings.Split(line, ",")
		if len(values) != len(fields) {
			return nil, fmt.Errorf("nvidia-smi gives %d values for the %d fields %s: %q", len(values), len(fields), strings.Join(fields, ","), line)
		}
		r := row{}
		for i, value := range values {
			r[fields[i]] = strings.TrimSpace(value)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// headerVersion is the CUDA version in the head of nvidia-smi's table.
var headerVersion = regexp.MustCompile(`CUDA (?:UMD )?Version\s*:\s*(\d+\.\d+)`)

// cudaVersion is the newest CUDA that nvidia-smi says the driver supports, or "".
func cudaVersion(table string) string {
	m := headerVersion.FindStringSubmatch(table)
	if m == nil {
		return ""
	}
	return m[1]
}
