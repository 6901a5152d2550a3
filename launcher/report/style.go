package report

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Style is how a table is laid out.
type Style struct {
	// Width is that of the terminal in cells; 0 stands for 100.
	Width int
	// Color allows colours.
	Color bool
}

// StyleOf is the style for f, by the terminal that it is and the variables COLUMNS,
// NO_COLOR (https://no-color.org) and TERM. What is no terminal gets neither a
// width nor colours.
func StyleOf(f *os.File, environ func(string) string) Style {
	conn, err := f.SyscallConn() // Fd would make f blocking
	if err != nil {
		return Style{}
	}
	var size *unix.Winsize
	if conn.Control(func(fd uintptr) { size, err = unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ) }) != nil || err != nil {
		return Style{} // ENOTTY, ioctl_tty(2)
	}
	width := int(size.Col)
	if n, err := strconv.Atoi(environ("COLUMNS")); err == nil && n >= minWidth/2 && n <= 1000 {
		width = n
	}
	return Style{Width: width, Color: environ("NO_COLOR") == "" && environ("TERM") != "dumb"}
}
