package probe

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/gpulaunch/gpulaunch/gpu"
)

func TestServe(t *testing.T) {
	var in, out bytes.Buffer
	for _, question := range []string{
		`{"ask":"inventory"}`, `{"ask":"sample"}`, `{"ask":"weather"}`, `nonsense`,
	} {
		if err := writeFrame(&in, []byte(question)); err != nil {
			t.Fatal(err)
		}
	}
	p := newLocalProbe(Options{Root: t.TempDir()})
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
	if inv := answers[0].Inventory; inv == nil {
		t.Error("the first answer has no inventory")
	} else if inv.Source != gpu.SourceNone || inv.Reason != reasonNoDriver || inv.Devices == nil {
		t.Errorf("inventory %+v, want the reason %q and no device", inv, reasonNoDriver)
	}
	if s := answers[1].Sample; s == nil {
		t.Error("the second answer has no sample")
	} else if s.Error != reasonNoDriver || s.Devices == nil || s.Time.IsZero() {
		t.Errorf("sample %+v, want the error %q, no device and a time", s, reasonNoDriver)
	}
	if got, want := answers[2].Error, `unknown request "weather"`; got != want {
		t.Errorf("the third answer has the error %q, want %q", got, want)
	}
	if answers[3].Error == "" {
		t.Error("the answer to nonsense has no error")
	}
}

func TestServeEndsOnBrokenRequest(t *testing.T) {
	half := bytes.NewBufferString("\x00\x00\x00\x09{")
	if err := serve(half, &bytes.Buffer{}, cannedProbe{}, func() {}); err == nil {
		t.Error("half a request gives no error")
	}
}
