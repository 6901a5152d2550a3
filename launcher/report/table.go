package report

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

const (
	// defaultWidth is the width of a table that goes to a file or a pipe.
	defaultWidth = 100
	// minWidth is the width of the narrowest table in cells. A narrower terminal wraps it.
	minWidth = 40
	// maxRows is how many workers, or earlier attempts, are listed.
	maxRows = 32
	// fewLines is how many lines a worker's failure text may have before its summary is printed
	// first, so that the cause is easy to find.
	fewLines = 5
)

// Table prints what went wrong, for people: the root cause with all that is known about it,
// then how the other workers ended. It prints nothing if no worker failed.
func (r Report) Table(w io.Writer, style terminal.Style) error {
	r.Workers = slices.Clone(r.Workers)
	r.Sort()
	if len(r.Workers) == 0 || !r.Workers[0].Failed() {
		return nil
	}
	if style.Width == 0 {
		style.Width = defaultWidth
	}
	p := &printer{width: max(style.Width, minWidth), style: style, printed: map[string]int{}}
	first, others := r.Workers[0], r.Workers
	p.rule()
	heading := "Workers, and how long after the first failure they ended:"
	if first.RootCause {
		p.rootCause(r, first)
		others = others[1:]
		if len(others) > 0 {
			p.line("")
		}
		heading = "Other workers, and how long after the root cause they ended:"
	}
	if len(others) > 0 {
		p.wrap("", "", heading)
		p.table(others, first.Ended)
	}
	p.earlier(r.Earlier)
	p.rule()
	_, err := w.Write(p.out.Bytes()) // in one call, so that no other output comes in between
	return err
}

// printer lays out one report.
type printer struct {
	out     bytes.Buffer
	width   int // in cells
	style   terminal.Style
	printed map[string]int // the summaries that were printed, each with its worker's rank
}

func (p *printer) line(s string) {
	p.out.WriteString(strings.TrimRight(s, " "))
	p.out.WriteByte('\n')
}

func (p *printer) rule() { p.line(strings.Repeat("─", p.width)) }

// wrap prints s in lines that fit, with first before the first line and rest before the others.
func (p *printer) wrap(first, rest, s string) {
	for _, line := range terminal.Wrap(s, p.width-terminal.Width(first)) {
		p.line(first + line)
		first = rest
	}
}

// field prints a label and what it stands for.
func (p *printer) field(label, s string) {
	p.wrap(fmt.Sprintf("  %-8s  ", label), strings.Repeat(" ", fieldIndent), s)
}

// fieldIndent is the number of cells before the text of a field.
const fieldIndent = 12

func (p *printer) rootCause(r Report, w Worker) {
	headline := fmt.Sprintf("Root cause: %s %s", rankOf(w, r.WorldSize), w.ExitStatus.String())
	if w.How != "" {
		headline += ", " + string(w.How)
	}
	for _, line := range terminal.Wrap(terminal.Sanitize(headline), p.width) {
		p.line(p.style.Paint(terminal.BoldRed, line))
	}
	p.probableCause(r, w)
	summary := w.summary()
	if _, lines := w.failureText(); len(lines) > fewLines {
		p.line(bar + summary)
	}
	if summary != "" {
		p.printed[summary] = w.Rank
	}
	p.details(r, w)
	p.failure(w)
}

// probableCause prints what probably made the worker fail: a fatal error that the driver reported
// for its GPU, the loss of its GPU, an error that the application caused, or else the loss of
// another worker's GPU, for which this one may have waited.
func (p *printer) probableCause(r Report, w Worker) {
	x := w.probableXID()
	lost := slices.IndexFunc(r.Workers, func(o Worker) bool { return o.GPULost != nil })
	text, at := "", time.Time{}
	switch {
	case x != nil && (x.Class == xidFatal || w.GPULost == nil):
		text, at = fmt.Sprintf("XID %d, %s (%s)", x.XID, x.Meaning, x.Class), x.Time
		if x.Count > 1 {
			text += fmt.Sprintf(", %d times", x.Count)
		}
	case w.GPULost != nil:
		text, at = w.lossText(), w.GPULost.Time
	case lost >= 0:
		text, at = r.Workers[lost].lossText(), r.Workers[lost].GPULost.Time
	default:
		return
	}
	if d := w.Ended.Sub(at); d > 0 {
		text += fmt.Sprintf(", %s before the end", rounded(d))
	}
	p.wrap("  ", "  ", terminal.Sanitize("probable cause: "+text))
}

// lossText returns "GPU 1 (rank 1) was lost: GPU is lost (code 15)".
func (w Worker) lossText() string {
	name := "its GPU"
	if w.Device != nil {
		name = fmt.Sprintf("GPU %d", w.Device.Index)
	}
	return fmt.Sprintf("%s (rank %d) was lost: %s", name, w.Rank, w.GPULost.Reason)
}

// failure prints all that the worker said about its failure.
func (p *printer) failure(w Worker) {
	heading, lines := w.failureText()
	if heading == traceback {
		// Usually, the traceback ends with the message.
		message := strings.TrimSpace(w.Raised.Message)
		if !strings.Contains(w.Raised.Traceback, message) {
			p.quote("message", textLines(message))
		}
	} else if w.ErrorFile != "" {
		p.quote("its error file could not be used", textLines(w.ErrorFile))
	} else if len(lines) == 0 {
		stderr := "nothing of its stderr is known"
		if w.Silent {
			stderr = "nothing to its stderr"
		}
		p.wrap("  ", "  ", "no traceback: it wrote no error file, and "+stderr)
	}
	if len(lines) > 0 {
		p.quote(heading, lines)
	}
}

// rankOf returns "rank 2 of 8".
func rankOf(w Worker, world int) string {
	if world == 0 {
		return fmt.Sprintf("rank %d", w.Rank)
	}
	return fmt.Sprintf("rank %d of %d", w.Rank, world)
}

// details prints where the worker ran and when it ended.
func (p *printer) details(r Report, w Worker) {
	if w.Host != "" {
		r.Host = w.Host
	}
	where := fmt.Sprintf("%s, local rank %d, pid %d", r.Host, w.LocalRank, w.PID)
	p.field("where", terminal.Sanitize(where))
	if d := w.Device; d != nil {
		known := []string{fmt.Sprintf("GPU %d", d.Index)}
		for _, s := range []string{d.Name, d.PCIBusID, d.UUID} {
			if s != "" {
				known = append(known, terminal.Sanitize(s))
			}
		}
		p.field("device", strings.Join(known, ", "))
	}
	if w.CPUs != "" {
		p.field("CPUs", terminal.Truncate(terminal.Sanitize(w.CPUs), p.width-fieldIndent))
	}
	ended := w.Ended.Format("2006-01-02 15:04:05.000 MST")
	if d, ok := runTime(w); ok {
		ended += fmt.Sprintf(", after %s", d)
	}
	p.field("ended", ended)
}

// earlier prints why each of the attempts before the last failed, in a line each.
func (p *printer) earlier(attempts []Worker) {
	if len(attempts) == 0 {
		return
	}
	p.line("")
	p.line("Earlier attempts:")
	for i, w := range attempts[:min(len(attempts), maxRows)] {
		cause := fmt.Sprintf("attempt %d: rank %d %s", i, w.Rank, w.ExitStatus.String())
		if d, ok := runTime(w); ok {
			cause += fmt.Sprintf(" after %s", d)
		}
		if w.GPULost != nil {
			cause += "; " + w.lossText()
		}
		p.wrap("  ", "    ", terminal.Sanitize(cause))
	}
	p.more(len(attempts) - maxRows)
}

// more prints that n more workers or attempts are not listed.
func (p *printer) more(n int) {
	if n > 0 {
		p.wrap("  ", "  ", fmt.Sprintf("and %d more; --report FILE has all of them", n))
	}
}

// runTime returns how long a worker ran, if that is known.
func runTime(w Worker) (d time.Duration, known bool) {
	d = w.Ended.Sub(w.Started)
	return rounded(d), !w.Started.IsZero() && d >= 0
}

// rounded returns a duration without digits that do not matter.
func rounded(d time.Duration) time.Duration {
	unit := time.Millisecond
	if d >= time.Minute {
		unit = time.Second
	} else if d >= time.Second {
		unit = 100 * time.Millisecond
	}
	return d.Round(unit)
}
