package draw

import (
	"bufio"
	"fmt"

	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// palette holds the colours of the workers, which are used in turn. They are from the 256 colours
// of terminals, where those from 16 on have 6 steps each of red, green and blue. They were chosen
// to be far apart (CIE 1976) for normal sight and the three kinds of dichromacy: by at least 31
// between any two of the first eight, and by 14 between any two of all. No colour is near black,
// white or grey.
var palette = [...]int{69, 150, 161, 56, 218, 94, 40, 126, 183, 24, 221, 91, 115, 203, 104, 168}

// cubeSteps holds the values of a channel in the colours from 16 to 231.
var cubeSteps = [...]int{0, 95, 135, 175, 215, 255}

func rgb(color int) (r, g, b int) {
	i := color - 16
	return cubeSteps[i/36], cubeSteps[i/6%6], cubeSteps[i%6]
}

// darkText reports whether black is easier to read on a colour than white. It compares the
// relative luminance of WCAG 2, with a square in place of its curve.
func darkText(color int) bool {
	r, g, b := rgb(color)
	luminance := (2126*r*r + 7152*g*g + 722*b*b) / 10000
	return luminance > 255*255*18/100
}

// workerLook returns the look of a worker from its index, so that neighbours differ.
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

// color returns how a look is painted in a terminal of 256 colours.
func (l look) color() terminal.Color {
	switch l {
	case lookPlain:
		return ""
	case lookFaint:
		return terminal.Dim
	case lookStrong:
		return terminal.Bold
	case lookShared:
		return terminal.Bold + ";7" // bold and inverted
	}
	color := palette[l-lookWorker]
	text := 231
	if darkText(color) {
		text = 16
	}
	return terminal.Color(fmt.Sprintf("38;5;%d;48;5;%d", text, color))
}

func writeLine(w *bufio.Writer, l line, style terminal.Style) {
	for _, s := range l {
		w.WriteString(style.Paint(s.look.color(), s.text))
	}
	w.WriteByte('\n')
}
