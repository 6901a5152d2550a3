package main

import (
	"embed"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

//go:embed help/*.txt
var helpTexts embed.FS

// topics are the texts behind gpulaunch help TOPIC, which are in help/TOPIC.txt, with a line
// about each.
var topics = []struct{ name, short string }{
	{"affinity", "Which CPUs and memory a worker gets, and why"},
	{"environment", "Variables that gpulaunch reads, and that workers get"},
	{"exit-codes", "What the exit codes mean"},
	{"flags", "The flags of run and plan in groups, with defaults"},
	{"gpus", "How GPUs are found, chosen and named"},
	{"metrics", "Which metrics there are, and how to scrape them"},
	{"report", "What is printed, or written as JSON, when a job fails"},
	{"signals", "How a job is stopped, and what is guaranteed"},
	{"start-methods", "New programs, or workers forked from a template"},
}

// helpTopics returns a command that cannot be run for each topic. cobra lists such commands
// separately and shows their text.
func helpTopics() []*cobra.Command {
	var list []*cobra.Command
	for _, topic := range topics {
		text, err := helpTexts.ReadFile("help/" + topic.name + ".txt")
		if err != nil {
			// TestHelpTopics reads them all
			panic(fmt.Sprintf("help topic %s has no text: %v", topic.name, err))
		}
		list = append(list, &cobra.Command{Use: topic.name, Short: topic.short,
			Long: strings.TrimSpace(string(text))})
	}
	return list
}
