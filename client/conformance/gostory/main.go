// Command gostory tells the story of ../story.json with the Go client: ../README.md says how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run tells the story that the arguments name.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var file, only string
	var vars, skip list
	flags := flag.NewFlagSet("gostory", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&file, "story", "", "the story's `FILE`")
	flags.StringVar(&only, "only", "", "do the steps whose names contain `TEXT`, and those that are always done")
	flags.Var(&vars, "var", "a variable, `NAME=VALUE`; may be given again")
	flags.Var(&skip, "skip", "leave out steps that need a `FEATURE`; may be given again")
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	s, err := readStory(file, vars)
	if err != nil {
		fmt.Fprintln(stderr, "gostory:", err)
		return exitUsage
	}
	t := newTeller(s)
	defer t.close()
	if !t.tell(ctx, only, skip, stdout) {
		return exitFailed
	}
	return exitOK
}

// list is a flag that may be given several times.
type list []string

// String is flag.Value.
func (l *list) String() string { return strings.Join(*l, ",") }

// Set is flag.Value.
func (l *list) Set(s string) error {
	if s == "" {
		return errors.New("it is empty")
	}
	*l = append(*l, s)
	return nil
}
