package terminal

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestSanitize(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"plain é 数 🚀":                   "plain é 数 🚀",
		"GeForce RTX™ ®µ é":             "GeForce RTX™ ®µ é",
		"\x1b]0;title\a\x1b[31mred\x00": `\x1b]0;title\x07\x1b[31mred\x00`,
		"\u009b31m\x7f":                 `\u009b31m\x7f`,
		"\x9b\u009b":                    `\x9b\u009b`,
		"one\ntwo\rthree\u2028four":     `one\x0atwo\x0dthree\u2028four`,
		"gnp.\u202eexe\u2066\u200f":     `gnp.\u202eexe\u2066\u200f`,
		"tr\u200bain\u00ad\ufeff":       `tr\u200bain\u00ad\ufeff`,
		"\xff\xfe\xc3":                  `\xff\xfe\xc3`,
		"\ufffd\xff":                    "\ufffd" + `\xff`,
		"a\tb":                          "a       b",
		"数据集数\tb":                       "数据集数        b",
		"1234567\t\tb":                  "1234567         b",
		"a\u00a0b\u202fc\u3000d":        "a b c d",
		"e\u0301 \u0430\u0483 日本🙂":      "e\u0301 \u0430\u0483 日本🙂",
		"\U000e0041\U0010fffd":          `\U000e0041\U0010fffd`,
		`C:\x1b already escaped`:        `C:\x1b already escaped`,
	} {
		if got := Sanitize(in); got != want {
			t.Errorf("Sanitize(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestOneLine(t *testing.T) {
	got, want := OneLine(" cannot open\n\tx:\u00a0 no\x1b\n"), `cannot open x: no\x1b`
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// checkSafe reports what a terminal could obey in a text of one line.
func checkSafe(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("not UTF-8: %q", text)
	}
	for _, r := range text {
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) ||
			!unicode.IsPrint(r) {
			t.Errorf("%U is in %q", r, text)
		}
	}
	if again := Sanitize(text); again != text {
		t.Errorf("sanitized again, %q becomes %q", text, again)
	}
}

func FuzzSanitize(f *testing.F) {
	for _, s := range []string{
		"", "boom", "a\nb\r\nc\r", "\x1b[2J\x1b[H\x1b]52;c;Zm9v\a", "\u009b2J\u0085x",
		"\u202eesrever\u2069", "\xff\xc3\n\xe2\x80", "tab\tand\v\f\b\x7f", "\u2028\u2029",
		"数🚀e\u0301", "👩\u200d💻", "\ufffd\ufffe\uffff", "\u061c\u200e\U000e0001", "\\x1b \\",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkSafe(t, Sanitize(s))
		line := OneLine(s)
		checkSafe(t, line)
		if strings.TrimSpace(line) != line || strings.Contains(line, "  ") {
			t.Errorf("%q has needless spaces", line)
		}
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		escaped := EscapeJSON(data)
		for _, r := range string(escaped) {
			if !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) {
				t.Errorf("%U is in %q", r, escaped)
			}
		}
		var before, after string
		if json.Unmarshal(data, &before) != nil || json.Unmarshal(escaped, &after) != nil ||
			before != after {
			t.Errorf("%q is read as %q instead of %q", escaped, after, before)
		}
	})
}

func TestEscapeJSON(t *testing.T) {
	in := "{\n  \"name\": \"<\u009b\u202e\U000e0041\u00a0数>\"\n}\n"
	want := "{\n  \"name\": \"<\\u009b\\u202e\\udb40\\udc41\u00a0数>\"\n}\n"
	if got := EscapeJSON([]byte(in)); !bytes.Equal(got, []byte(want)) {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestWidth(t *testing.T) {
	for s, want := range map[string]int{
		"": 0, "abc": 3, "é": 1, "e\u0301": 1, "数据": 4, "🚀": 2, "…│─": 3, "·×→™": 4,
		"\x1b[1;31mred\x1b[0m": 3,
	} {
		if got := Width(s); got != want {
			t.Errorf("%q takes %d cells, not %d", s, want, got)
		}
	}
}

func TestTruncate(t *testing.T) {
	for _, test := range []struct {
		s     string
		width int
		want  string
		cut   string
	}{
		{"abc", 3, "abc", "abc"},
		{"abcd", 3, "ab…", "abc"},
		{"数据集", 4, "数…", "数据"},
		{"数据集", 5, "数据…", "数据"},
		{"e\u0301e\u0301", 1, "…", "e\u0301"},
		{"abc", 0, "", ""},
		{"abc", -1, "", ""},
		{"", 0, "", ""},
	} {
		if got := Truncate(test.s, test.width); got != test.want {
			t.Errorf("Truncate(%q, %d) = %q, want %q", test.s, test.width, got, test.want)
		}
		if got := Cut(test.s, test.width); got != test.cut {
			t.Errorf("Cut(%q, %d) = %q, want %q", test.s, test.width, got, test.cut)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		text         string
		width        int
		lines, words string
	}{
		{"", 5, "", ""},
		{"one  two\tthree", 8, "one two|three", "one two|three"},
		{"one two", 0, "one two", "one two"},
		{"run --nproc-per-node now", 8, "run|--nproc-|per-node|now", "run|--nproc-per-node|now"},
		{"run --nproc=2 now", 10, "run|--nproc=2|now", "run|--nproc=2|now"},
		{"数据集数据", 5, "数据|集数|据", "数据集数据"},
		{"数据", 1, "数|据", "数据"},
		{"a b", 1, "a|b", "a|b"},
	} {
		if got := strings.Join(Wrap(test.text, test.width), "|"); got != test.lines {
			t.Errorf("Wrap(%q, %d) = %q, want %q", test.text, test.width, got, test.lines)
		}
		if got := strings.Join(WrapWords(test.text, test.width), "|"); got != test.words {
			t.Errorf("WrapWords(%q, %d) = %q, want %q", test.text, test.width, got, test.words)
		}
	}
}

func TestHang(t *testing.T) {
	head := Style{Color: true}.Paint(Red, "!") + "  "
	for width, want := range map[int]string{
		0:  head + "do this now\n",
		10: head + "do this\n   now\n",
		2:  head + "do\n   this\n   now\n",
	} {
		if got := Hang(head, "do this  now", width); got != want {
			t.Errorf("at width %d: %q, want %q", width, got, want)
		}
	}
	if got := Hang("head ", "", 10); got != "head \n" {
		t.Errorf("%q", got)
	}
}

func FuzzWidth(f *testing.F) {
	f.Add("a few words, 数据集数据集数据集 and 🚀 and a_very_long_word_that_does_not_fit", 7)
	f.Add("e\u0301\u0301 \xff", 2)
	f.Add("👩\u200d💻🇩🇪❤\ufe0f", 3)
	f.Add("0123456789 \ufe0f", 11) // the mark makes the space two cells wide
	f.Fuzz(func(t *testing.T, s string, width int) {
		if width < 2 || width > 1000 {
			return // no terminal is so narrow or so wide
		}
		s = Sanitize(s)
		if got := Truncate(s, width); Width(got) > width {
			t.Errorf("%q truncated to %d cells is %q", s, width, got)
		}
		if got := Width(Pad(s, width)); got != max(width, Width(s)) {
			t.Errorf("%q padded to %d cells has %d", s, width, got)
		}
		spaceless := func(s string) string { return strings.Join(strings.Fields(s), "") }
		lines, words := Wrap(s, width), WrapWords(s, width)
		for _, line := range lines {
			if Width(line) > width {
				t.Errorf("%q wrapped at %d has %q", s, width, line)
			}
		}
		for _, line := range words {
			if Width(line) > width && strings.Contains(line, " ") {
				t.Errorf("%q with whole words wrapped at %d has %q", s, width, line)
			}
		}
		if got := strings.Join(words, " "); got != strings.Join(strings.Fields(s), " ") {
			t.Errorf("%q with whole words wrapped at %d has become %q", s, width, words)
		}
		if spaceless(strings.Join(lines, "")) != spaceless(s) {
			t.Errorf("%q wrapped at %d has become %q", s, width, lines)
		}
	})
}

func TestPaint(t *testing.T) {
	color := Style{Color: true}
	for want, got := range map[string]string{
		"\x1b[31mlost\x1b[0m":   color.Paint(Red, "lost"),
		"\x1b[1;31mlost\x1b[0m": color.Paint(BoldRed, "lost"),
		"plain":                 color.Paint("", "plain"),
		"":                      color.Paint(Red, ""),
		"without":               Style{}.Paint(Red, "without"),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestTable(t *testing.T) {
	columns := []Column{{Name: "N", Right: true}, {Name: "NAME"}, {Name: "HEALTH"}}
	red := Style{Color: true}.Paint(Red, "lost")
	rows := [][]string{{"9", "数据集", "ok"}, {"10", "%d 100%", red}, {"", "", ""}}
	want := []string{
		" N  NAME     HEALTH",
		" 9  数据集   ok    ",
		"10  %d 100%  " + red + "  ",
		strings.Repeat(" ", 19),
	}
	if diff := cmp.Diff(want, Table(columns, rows)); diff != "" {
		t.Error(diff)
	}
	if rows[0][0] != "9" {
		t.Errorf("the caller's row has become %q", rows[0])
	}
	if diff := cmp.Diff([]string{"N  NAME  HEALTH"}, Table(columns, nil)); diff != "" {
		t.Error(diff)
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[uint64][2]string{
		0:               {"0 bytes", "0 bytes"},
		1023:            {"1023 bytes", "1023 bytes"},
		1 << 10:         {"1 KiB", "1.0 KiB"},
		1<<30 - 1:       {"1023.9 MiB", "1024 MiB"},
		3 << 29:         {"1.5 GiB", "1.5 GiB"},
		64 << 30:        {"64 GiB", "64 GiB"},
		754<<30 + 1<<29: {"754.5 GiB", "754 GiB"},
		8271101952:      {"7.7 GiB", "7.7 GiB"},
		997 << 30 / 100: {"9.9 GiB", "10 GiB"},
		1 << 40:         {"1 TiB", "1.0 TiB"},
		1<<64 - 1:       {"16 EiB", "16 EiB"},
	} {
		if got := Bytes(n); got != want[0] {
			t.Errorf("Bytes(%d) = %s, want %s", n, got, want[0])
		}
		if got := ShortBytes(n); got != want[1] {
			t.Errorf("ShortBytes(%d) = %s, want %s", n, got, want[1])
		}
	}
}
