// Package terminal lays out text for people, who read it in a terminal or in a log.
//
// Use [Sanitize] on every text that this program did not write itself (names of processes, GPUs and
// files, output of workers, errors of other programs) before it is printed, and [OneLine] on whole
// messages. The other functions expect text that has been sanitized: they measure it, but they do
// not make it safe.
//
// Use [StyleOf] to find out how wide a terminal is and whether it shows colours, [Style.Paint] to
// colour, [Width], [Truncate], [Pad], [Wrap], [WrapWords] and [Hang] to fit text into a number of
// cells, [Table] for columns, and [Bytes] and [ShortBytes] for sizes. [EscapeJSON] makes JSON safe
// to print.
//
// # Which libraries do the work
//
// Every process of gpulaunch that reaches main initialises all that is linked, so a library has to
// be cheap at start. Widths and truncation come from clipperhouse/displaywidth, columns from
// rodaine/table, byte sizes from docker/go-units and the terminal's size from golang.org/x/term.
// Together they take less than 0.01 ms to initialise.
//
// charmbracelet/x/ansi, which measures with displaywidth as well, and lipgloss and go-pretty take
// 0.1 to 0.4 ms, and some versions of the go-runewidth that they import take 20 ms. Two things are
// written here:
//   - Wrapping, because x/ansi breaks lines at every hyphen, which would cut a flag such as
//     --nproc-per-node in two, and go-pretty exceeds the width with wide characters.
//   - The escape sequences of a few colours, because fatih/color decides by itself, and while it
//     is initialised, whether there are any.
package terminal
