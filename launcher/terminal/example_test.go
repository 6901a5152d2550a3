package terminal_test

import (
	"fmt"
	"os"
	"strings"

	"github.com/gpulaunch/gpulaunch/launcher/terminal"
)

// This program lists files with their sizes. Somebody else chose the names, so they are sanitized
// before they are printed.
func Example() {
	files := []struct {
		name  string
		bytes uint64
	}{{"model.safetensors", 15 << 30}, {"数据集.parquet", 700 << 20}, {"\x1b[2Jnotes", 512}}

	style := terminal.StyleOf(os.Stdout, os.Getenv)
	var rows [][]string
	for _, f := range files {
		size := terminal.Bytes(f.bytes)
		if f.bytes > 1<<30 {
			size = style.Paint(terminal.Yellow, size)
		}
		rows = append(rows, []string{terminal.Sanitize(f.name), size})
	}
	columns := []terminal.Column{{Name: "FILE"}, {Name: "SIZE", Right: true}}
	for _, line := range terminal.Table(columns, rows) {
		fmt.Println(strings.TrimRight(line, " "))
	}
	// Output:
	// FILE                    SIZE
	// model.safetensors     15 GiB
	// 数据集.parquet       700 MiB
	// \x1b[2Jnotes       512 bytes
}

func ExampleHang() {
	advice := "end what uses the GPU, then run nvidia-smi --gpu-reset -i 0000:c3:00.0"
	fmt.Print(terminal.Hang("  do: ", advice, 40))
	// Output:
	//   do: end what uses the GPU, then run
	//       nvidia-smi --gpu-reset -i
	//       0000:c3:00.0
}
