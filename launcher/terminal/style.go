package terminal

import (
	"os"
	"runtime"
	"strconv"

	"golang.org/x/term"
)

// Style describes what a text is laid out for.
type Style struct {
	// Width is the terminal's width in cells. It is 0 if the text does not go to a
	// terminal, or if the terminal does not know its width.
	Width int
	// Color allows escape sequences for colours.
	Color bool
}

// StyleOf returns the style for f. If f is a terminal, that is its width and colours,
// unless the environment says otherwise: COLUMNS replaces the width, and NO_COLOR
// (https://no-color.org) or TERM=dumb turns colours off. What is not a terminal gets
// neither. There are no colours on Windows, where a console obeys escape sequences only
// after a program has turned that on.
func StyleOf(f *os.File, environ func(string) string) Style {
	conn, err := f.SyscallConn() // unlike Fd, it does not make f blocking
	if err != nil {
		return Style{}
	}
	var width int
	query := func(fd uintptr) { width, _, err = term.GetSize(int(fd)) }
	if conn.Control(query) != nil || err != nil {
		return Style{}
	}
	if n, err := strconv.Atoi(environ("COLUMNS")); err == nil && n >= 20 && n <= 1000 {
		width = n
	}
	color := environ("NO_COLOR") == "" && environ("TERM") != "dumb" && runtime.GOOS != "windows"
	return Style{Width: width, Color: color}
}

// Color is how text is painted: the parameters of Select Graphic Rendition (ECMA-48, section
// 8.3.117). The empty Color leaves text as it is.
type Color string

// The colours that most of the program uses.
const (
	Red     Color = "31"
	Green   Color = "32"
	Yellow  Color = "33"
	Bold    Color = "1"
	BoldRed Color = "1;31"
	Dim     Color = "2"
)

// Paint returns text in a colour if the style has colours, and as it is otherwise.
func (s Style) Paint(color Color, text string) string {
	if !s.Color || color == "" || text == "" {
		return text
	}
	return "\x1b[" + string(color) + "m" + text + "\x1b[0m"
}
