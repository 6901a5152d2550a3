package probe

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
)

func TestServe(t *testing.T) {
	var in, out bytes.Buffer
	for _, question := range []string{`{"ask":"inventory"}`, `{"ask":"sample"}`, `{"ask":"weather"}`, `nonsense`} {
		if err := writeFrame(&in, []byte(question)); err != nil {
			t.Fatal(err)
		}
	}
	p := NewProbe(Options{Root: t.TempDir()})
	defer p.Close()
	if err := serve(&in, &out, p, func() {}); err != nil {
		t.Fatal(err)
	}
	answers := make([]reply, 4)
	for i := range answers {
		message, err := readFrame(&out)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(message, &answers[i]); err != nil {
			t.Fatal(err)
		}
	}
	if inv := answers[0].Inventory; inv == nil || inv.Source != gpu.SourceNone || inv.Reason != reasonNoDriver || inv.Devices == nil {
		t.Errorf("inventory %+v", inv)
	}
	if s := answers[1].Sample; s == nil || s.Error != reasonNoDriver || s.Devices == nil || s.Time.IsZero() {
		t.Errorf("sample %+v", s)
	}
	if answers[2].Error != `unknown request "weather"` || answers[3].Error == "" {
		t.Errorf("errors %q, %q", answers[2].Error, answers[3].Error)
	}
}

func TestServeEndsOnBrokenRequest(t *testing.T) {
	if err := serve(bytes.NewBufferString("\x00\x00\x00\x09{"), &bytes.Buffer{}, cannedProbe{}, func() {}); err == nil {
		t.Error("half a request is no error")
	}
}
