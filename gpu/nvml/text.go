//go:build linux && !nonvml

package nvml

import "bytes"

// text takes the string out of a buffer that C filled. It does not rely on a NUL being there, and puts "?" for every
// byte that is not printable ASCII: names and versions end up in logs, tables and metric labels.
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
