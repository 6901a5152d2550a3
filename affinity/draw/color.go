package draw

import (
	"bufio"
	"fmt"
)

// palette are colours of the 256 of terminals (6 steps each of red, green and blue from 16 on), for the workers in turn.
// They were chosen for their least distance (CIE 1976) under normal sight and the three kinds of dichromacy: 31 between
// any two of the first eight, 14 between any two of all. No colour is near black, white or grey.
var palette = [...]int{69, 150, 161, 56, 218, 94, 40, 126, 183, 24, 221, 91, 115, 203, 104, 168}

// cubeSteps are the values of a channel in the colours from 16 to 231.
var cubeSteps = [...]int{0, 95, 135, 175, 215, 255}

func rgb(color int) (r, g, b int) {
	i := color - 16
	return cubeSteps[i/36], cubeSteps[i/6%6], cubeSteps[i%6]
}

// darkText reports whether black can be read better on a colour than white, by the relative luminance of WCAG 2, with a
// square in place of its curve.
func darkText(color int) bool {
	r, g, b := rgb(color)
	luminance := (2126*r*r + 7152*g*g + 722*b*b) / 10000
	return luminance > 255*255*18/100
}

// workerLook is the look of a worker by its place in the list, so that neighbours differ.
func workerLook(worker int) look { return lookWorker + look(worker%len(palette)) }

func cellLook(c cell) look {
	switch {
	case len(c.owners) == 0:
		return lookFaint
	case len(c.owners) > 1:
		return lookShared
	}
	return workerLook(c.owners[0])
}

func (e entry) look() look {
	switch {
	case e.worker >= 0:
		return workerLook(e.worker)
	case e.mark == markShared:
		return lookShared
	}
	return lookFaint
}

// sgr returns the parameters of Select Graphic Rendition (ECMA-48, 8.3.117) for a look.
func (l look) sgr() string {
	switch l {
	case lookPlain:
		return ""
	case lookFaint:
		return "2"
	case lookStrong:
		return "1"
	case lookShared:
		return "1;7"
	}
	color := palette[l-lookWorker]
	text := 231
	if darkText(color) {
		text = 16
	}
	return fmt.Sprintf("38;5;%d;48;5;%d", text, color)
}

func writeLine(w *bufio.Writer, l line, color bool) {
	for _, s := range l {
		sgr := s.look.sgr()
		if !color || sgr == "" || s.text == "" {
			w.WriteString(s.text)
			continue
		}
		fmt.Fprintf(w, "\x1b[%sm%s\x1b[0m", sgr, s.text)
	}
	w.WriteByte('\n')
}
