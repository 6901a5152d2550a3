//go:build linux && !nonvml

package nvml

import "bytes"

// text returns the string in a buffer that C filled. The buffer need not contain a NUL. Every byte
// that is not printable ASCII becomes "?", because names and versions are shown in logs, tables and
// metric labels.
func text(buf []byte) string {
	if end := bytes.IndexByte(buf, 0); end >= 0 {
		buf = buf[:end]
	}
	clean := make([]byte, len(buf))
	for i, c := range buf {
		if c < ' ' || c > '~' {
			c = '?'
		}
		clean[i] = c
	}
	return string(clean)
}
