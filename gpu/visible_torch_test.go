package gpu_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gpulaunch/gpulaunch/gpu"
	"github.com/gpulaunch/gpulaunch/gpu/gputest"
	"github.com/gpulaunch/gpulaunch/gpu/nvml/nvmltest"
)

// torchAnswer is the answer of testdata/torch_visible.py about one value.
type torchAnswer struct {
	Set   []int   `json:"set"`
	List  *[]int  `json:"list"`
	Error *string `json:"error"`
}

// generatedValues returns values that look like what people write, with everything that can go
// wrong. They are the same each time. Every sign is followed by a digit: PyTorch 2 raises an
// exception at a sign alone, where strtol finds nothing.
func generatedValues(n int) []string {
	random := rand.New(rand.NewPCG(1, 2))
	parts := []string{
		"0", "1", "2", "3", "4", "7", "00", "01", "10", "-1", "-0", "+1", "+3", "-7", " 1", "2 ",
		"\t3", "1 2", "1gpu2", "2,", "", "x", "0x1", "all", tooLarge,
		"GPU-", "GPU-0", "GPU-1", "GPU-10", "GPU-00", "GPU-x", " GPU-2", "gpu-1",
		gputest.UUID(0), gputest.UUID(1), gputest.UUID(2), gputest.UUID(3) + "0",
	}
	values := []string{"", "-1", ","}
	for range n {
		var entries []string
		from := parts
		if random.IntN(3) == 0 { // otherwise there would be few lists of UUIDs
			from = parts[slices.Index(parts, "GPU-"):]
		}
		for range 1 + random.IntN(5) {
			entries = append(entries, from[random.IntN(len(from))])
		}
		values = append(values, strings.Join(entries, ","))
	}
	return values
}

// TestVisibleAgainstPyTorch asks the PyTorch of this machine about thousands of values. The answer
// of PyTorch 2 is compared with the whole result. PyTorch 1 reads each entry by itself, so only
// that is compared, and only in values without signs, which it does not know.
func TestVisibleAgainstPyTorch(t *testing.T) {
	values := generatedValues(5000)
	inv := gputest.Inventory(4)
	for i, answer := range askTorch(t, inv, values) {
		value := values[i]
		switch {
		case answer.Error != nil:
			t.Errorf("PyTorch fails at %q: %s", value, *answer.Error)
		case answer.List != nil:
			compareWithPyTorch(t, inv, value, *answer.List)
		case !hasSign(value):
			if diff := cmp.Diff(answer.Set, entriesAsSet(value)); diff != "" {
				t.Errorf("the entries of %q differ between PyTorch (-) and us (+):\n%s",
					value, diff)
			}
		}
	}
}

// compareWithPyTorch compares the list of indexes that PyTorch 2 reads with ours. The list is cut
// at the first index that does not exist, as PyTorch does in a second step.
func compareWithPyTorch(t *testing.T, inv gpu.Inventory, value string, list []int) {
	t.Helper()
	n := len(inv.Devices)
	if i := slices.IndexFunc(list, func(x int) bool { return x >= n }); i >= 0 {
		list = list[:i]
	}
	want, got := append([]int{}, list...), []int{}
	for _, u := range inv.Visible(value, true).Units {
		got = append(got, u.Device.Index)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%q differs between PyTorch (-) and us (+):\n%s", value, diff)
	}
}

// TestVisibleVectors compares with recorded answers of PyTorch 2, for machines without it.
func TestVisibleVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/torch2_visible.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors map[string][]int
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	inv := gputest.Inventory(4)
	for value, want := range vectors {
		compareWithPyTorch(t, inv, value, want)
	}
	if len(vectors) < 500 {
		t.Errorf("there are only %d vectors, want at least 500", len(vectors))
	}
}

// entriesAsSet reads each entry by itself. No entry ends the list.
func entriesAsSet(value string) []int {
	set := []int{}
	for entry := range strings.SplitSeq(value, ",") {
		digits, negative, _, ok := gpu.LeadingInteger(entry)
		switch n, err := strconv.Atoi(digits); {
		case !ok || negative:
			set = append(set, -1)
		case err != nil:
			set = append(set, standIn)
		default:
			set = append(set, n)
		}
	}
	slices.Sort(set)
	return slices.Compact(set)
}

// hasSign reports whether an entry has a sign that strtol accepts and PyTorch 1 does not.
func hasSign(value string) bool {
	return slices.ContainsFunc(strings.Split(value, ","), func(entry string) bool {
		return strings.HasPrefix(entry, "+") || strings.HasPrefix(entry, "-0")
	})
}

// tooLarge does not fit into an int, but Python can read it. standIn replaces it in answers; both
// are out of range.
const (
	tooLarge = "99999999999999999999999"
	standIn  = 999999999
)

// askTorch asks PyTorch about values of CUDA_VISIBLE_DEVICES. Without PyTorch, the test ends.

func askTorch(t *testing.T, inv gpu.Inventory, values []string) []torchAnswer {
	t.Helper()
	question := struct {
		UUIDs  []string `json:"uuids"`
		Values []string `json:"values"`
	}{Values: values}
	for _, d := range inv.Devices {
		question.UUIDs = append(question.UUIDs, d.UUID)
	}
	input, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/bin/python3", "testdata/torch_visible.py")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
	output, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		nvmltest.Unavailable(t, "there is no "+cmd.Path)
	case errors.As(err, &exit) && exit.ExitCode() == 77:
		nvmltest.Unavailable(t, cmd.Path+" cannot import torch (Debian: python3-torch)")
	case err != nil:
		t.Fatal(err)
	}
	output = bytes.ReplaceAll(output, []byte(tooLarge), []byte(strconv.Itoa(standIn)))
	var answers []torchAnswer
	if err := json.Unmarshal(output, &answers); err != nil {
		t.Fatal(err)
	}
	if len(answers) != len(values) {
		t.Fatalf("PyTorch gave %d answers to %d values", len(answers), len(values))
	}
	return answers
}
