// Command domicile talks to a Domicile gateway from a shell: one verb per call
// of its interface, tables for people, JSON for programs, and a refusal always
// with its reason, its clause, its decision and what would be needed.
//
// It knows how results and refusals read on a terminal and which exit code each
// has; the calls themselves are package client's.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "devel"

func main() { os.Exit(mainCode()) }

// mainCode is main without the exit.
func mainCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr)
}
