package report

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const (
	defaultWidth = 100
	// minWidth is what the narrowest table takes, in cells; a terminal that is
	// narrower than this wraps it.
	minWidth = 40
	// maxRows is how many workers, or earlier attempts, are listed.
	maxRows = 32
	// firstScreen is how many lines a worker's account may have before its gist comes
	// first: the cause must not be something to look for.
	firstScreen = 5
)

// Codes of ECMA-48, 8.3.117 (SGR).
const (
	boldRed = "\x1b[1;31m"
	dim     = "\x1b[2m"
	reset   = "\x1b[0m"
)

// Table prints what went wrong, for people: the root cause with all that is known
// of it, then how the other workers ended. It prints nothing where no worker failed.
func (r Report) Table(w io.Writer, style Style) error {
	r.Workers = slices.Clone(r.Workers)
	r.Sort()
	if len(r.Workers) == 0 || !r.Workers[0].failed() {
		return nil
	}
	if style.Width == 0 {
		style.Width = defaultWidth
	}
	p := &printer{width: max(style.Width, minWidth), color: style.Color, said: map[string]int{}}
	first, others := r.Workers[0], r.Workers
	p.rule()
	since := "Workers, and how long after the first failure they ended:"
	if first.RootCause {
		p.rootCause(r, first)
		others = others[1:]
		if len(others) > 0 {
			p.line("")
		}
		since = "Other workers, and how long after the root cause they ended:"
	}
	if len(others) > 0 {
		p.wrap("", "", since)
		p.table(others, first.Ended)
	}
	p.earlier(r.Earlier)
	p.rule()
	_, err := w.Write(p.out.Bytes()) // at once, so that nothing comes in between
	return err
}

// printer lays out one report.
type printer struct {
	out   bytes.Buffer
	width int // in cells
	color bool
	said  map[string]int // the gists that were printed, each with its rank
}

func (p *printer) line(s string) {
	p.out.WriteString(strings.TrimRight(s, " "))
	p.out.WriteByte('\n')
}

func (p *printer) rule() { p.line(strings.Repeat("─", p.width)) }

// paint colours what is inside one line.
func (p *printer) paint(color, s string) string {
	if !p.color || color == "" {
		return s
	}
	return color + s + reset
}

// wrap prints s in lines that fit, first before the first and hang before the
// others; both take the same room.
func (p *printer) wrap(first, hang, s string) {
	for _, line := range wrap(s, p.width-cells(first)) {
		p.line(first + line)
		first = hang
	}
}

// fact prints one thing that is known.
func (p *printer) fact(label, s string) {
	p.wrap(fmt.Sprintf("  %-8s  ", label), strings.Repeat(" ", 12), s)
}

func (p *printer) rootCause(r Report, w Worker) {
	headline := fmt.Sprintf("Root cause: %s %s", rank(w, r.WorldSize), w.Exit())
	if w.How != "" {
		headline += ", " + string(w.How)
	}
	for _, line := range wrap(visible(headline), p.width) {
		p.line(p.paint(boldRed, line))
	}
	p.probableCause(w)
	gist := w.gist()
	if _, lines := w.account(); len(lines) > firstScreen {
		p.line(bar + gist)
	}
	if gist != "" {
		p.said[gist] = w.Rank
	}
	p.facts(r, w)
	p.told(w)
}

// probableCause says what the driver reported of the worker's GPU.
func (p *printer) probableCause(w Worker) {
	x := w.cause()
	if x == nil {
		return
	}
	text := fmt.Sprintf("probable cause: XID %d, %s (%s)", x.XID, visible(x.Meaning), visible(x.Class))
	if x.Count > 1 {
		text += fmt.Sprintf(", %d times", x.Count)
	}
	if d := w.Ended.Sub(x.Time); d > 0 {
		text += fmt.Sprintf(", %s before the end", rounded(d))
	}
	p.wrap("  ", "  ", text)
}

// told is all that the worker said of its failure.
func (p *printer) told(w Worker) {
	heading, lines := w.account()
	if heading == traceback {
		// The message is the traceback's end, as a rule.
		if message := strings.TrimSpace(w.Raised.Message); !strings.Contains(w.Raised.Traceback, message) {
			p.quote("message", split(message))
		}
	} else if w.ErrorFile != "" {
		p.quote("its error file could not be used", split(w.ErrorFile))
	} else if len(lines) == 0 {
		what := "nothing of its stderr is known"
		if w.Silent {
			what = "nothing to its stderr"
		}
		p.wrap("  ", "  ", "no traceback: it wrote no error file, and "+what)
	}
	if len(lines) > 0 {
		p.quote(heading, lines)
	}
}

// rank is "rank 2 of 8".
func rank(w Worker, world int) string {
	if world == 0 {
		return fmt.Sprintf("rank %d", w.Rank)
	}
	return fmt.Sprintf("rank %d of %d", w.Rank, world)
}

func (p *printer) facts(r Report, w Worker) {
	if w.Host != "" {
		r.Host = w.Host
	}
	p.fact("where", visible(fmt.Sprintf("%s, local rank %d, pid %d", r.Host, w.LocalRank, w.PID)))
	if d := w.Device; d != nil {
		known := []string{fmt.Sprintf("GPU %d", d.Index)}
		for _, s := range []string{d.Name, d.PCI, d.UUID} {
			if s != "" {
				known = append(known, visible(s))
			}
		}
		p.fact("device", strings.Join(known, ", "))
	}
	if w.CPUs != "" {
		p.fact("CPUs", shorten(visible(w.CPUs), p.width-12))
	}
	p.fact("ended", w.Ended.Format("2006-01-02 15:04:05.000 MST")+lived(w))
}

// earlier says in a line each why the attempts before the last failed.
func (p *printer) earlier(attempts []Worker) {
	if len(attempts) == 0 {
		return
	}
	p.line("")
	p.line("Earlier attempts:")
	for i, w := range attempts[:min(len(attempts), maxRows)] {
		cause := fmt.Sprintf("attempt %d: rank %d %s%s", i, w.Rank, w.Exit(), strings.TrimPrefix(lived(w), ","))
		p.wrap("  ", "    ", visible(cause))
	}
	p.more(len(attempts) - maxRows)
}

func (p *printer) more(n int) {
	if n > 0 {
		p.wrap("  ", "  ", fmt.Sprintf("and %d more; --report FILE has all of them", n))
	}
}

// lived is ", after 1.2s", or "" when that is unknown.
func lived(w Worker) string {
	d := w.Ended.Sub(w.Started)
	if w.Started.IsZero() || d < 0 {
		return ""
	}
	return fmt.Sprintf(", after %s", rounded(d))
}

// rounded leaves of a duration what people read.
func rounded(d time.Duration) time.Duration {
	unit := time.Millisecond
	if d >= time.Minute {
		unit = time.Second
	} else if d >= time.Second {
		unit = 100 * time.Millisecond
	}
	return d.Round(unit)
}
