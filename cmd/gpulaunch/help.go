package main

import (
	"embed"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

//go:embed help/*.txt
var helpTexts embed.FS

// topics are the long texts behind gpulaunch help TOPIC, with a line about each.
var topics = []struct{ name, short string }{
	{"affinity", "Which CPUs a worker gets, and why"},
	{"environment", "Variables that are read, and that workers get"},
	{"exit-codes", "What the exit code says"},
	{"gpus", "How GPUs are found, and what CUDA_VISIBLE_DEVICES does"},
	{"metrics", "What Prometheus is told, and how to scrape it"},
	{"report", "What is printed, or written as JSON, when a job fails"},
	{"signals", "How a job is stopped, and what is guaranteed"},
	{"start-methods", "New programs, or workers forked from one that has imported torch"},
}

// helpTopics are commands that cannot be run: cobra lists them apart and shows
// their text.
func helpTopics() []*cobra.Command {
	var list []*cobra.Command
	for _, topic := range topics {
		text, err := helpTexts.ReadFile("help/" + topic.name + ".txt")
		if err != nil {
			panic(fmt.Sprintf("help topic %s has no text: %v", topic.name, err)) // a test reads them all
		}
		list = append(list, &cobra.Command{Use: topic.name, Short: topic.short, Long: strings.TrimSpace(string(text))})
	}
	return list
}
