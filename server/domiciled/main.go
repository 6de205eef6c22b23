// Command domiciled is the gateway daemon: it sends each tenant's personal
// information and virtual-drive data to the region where the tenant is
// domiciled, and lets nothing cross a border without a recorded consent.
//
// It knows how the parts are put together and taken apart again: flags,
// signals, which store is opened where, and in which order a stop happens.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"google.golang.org/grpc/grpclog"

	"github.com/domicile-project/domicile/server/redact"
)

// version is set by the linker.
var version = "devel"

func main() { os.Exit(mainCode()) }

// mainCode is main without the exit: 0 = stopped as asked, 1 = failed, 2 = the
// command line or the configuration is wrong.
func mainCode() int {
	// grpc's own log quotes what peers sent.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	syscall.Umask(0o077) // what this process makes is its owner's alone
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	var wrong *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &wrong):
		fmt.Fprintln(os.Stderr, "domiciled:", err)
		return 2
	default:
		fmt.Fprintln(os.Stderr, "domiciled:", err)
		return 1
	}
}

// flags are the command line.
type flags struct {
	Verb        string           `arg:"" optional:"" enum:"serve,migrate,fsck,healthcheck,rotate-log-key,forget-log" default:"serve" help:"serve (the default); migrate: bring the tables of the configured databases up to date and exit (it may be run again, and while gateways serve); fsck: check the stores against each other, say what is wrong, change nothing, and exit 1 if something is damaged (stores in folders: while no gateway uses them); healthcheck: ask the gateway on this machine whether it can serve, and exit 0 if so, else 1; rotate-log-key: put a new key before the one that a region's audit logs are signed with, and say what to do next; forget-log ORIGIN: after the log of that name was restored from a backup, let the witnesses here sign it again (rows in a folder: while no gateway uses them), say what they knew of it, and keep that."`
	Origin      string           `arg:"" optional:"" help:"With forget-log: the origin of the log, in full."`
	Config      string           `help:"Configuration file. Without one the embedded default serves both regions from the data folder." placeholder:"FILE" type:"existingfile" env:"DOMICILE_CONFIG"`
	Data        string           `help:"Data folder of the embedded default; not with --config (default ./data)." default:"./data" placeholder:"DIR" env:"DOMICILE_DATA"`
	Listen      string           `help:"gRPC address, in place of the configured one; port 0 picks a free one." placeholder:"HOST:PORT"`
	AdminListen string           `help:"Admin HTTP address, in place of the configured one; loopback only." placeholder:"HOST:PORT"`
	Address     string           `help:"With healthcheck: the gateway's admin address (default: that of --admin-listen, else 127.0.0.1:9464)." placeholder:"HOST:PORT" env:"DOMICILE_GATEWAY_ADMIN_LISTEN"`
	Alive       bool             `help:"With healthcheck: ask whether the process can go on, in place of whether it can serve now."`
	Region      string           `help:"With rotate-log-key: the region (default: the only one that is served here). With forget-log: the one whose witness forgets (default: all that are served here). With fsck: the only one that is checked (default: all that are served here)." placeholder:"REGION"`
	Deep        bool             `help:"With fsck: read every drive and open it under both layers too."`
	Output      string           `short:"o" help:"With fsck: text, or json for a line per finding and one of what was checked (default text)." enum:"text,json" default:"text"`
	Finish      bool             `help:"With rotate-log-key: drop the keys before the newest; whoever verifies has the new one by then."`
	Check       bool             `help:"Validate the configuration and exit."`
	PrintConfig bool             `help:"Print the effective configuration, without secrets, and exit."`
	LogLevel    logLevel         `help:"Least level that is logged: debug, info, warn or error (default info)." default:"info" placeholder:"LEVEL" env:"DOMICILE_LOG_LEVEL"`
	LogFormat   string           `help:"Log format: text or json (default text)." enum:"text,json" default:"text" env:"DOMICILE_LOG_FORMAT"`
	Version     kong.VersionFlag `help:"Print the version and exit."`
}

// logLevel is a level of the log.
type logLevel struct{ slog.Level }

// UnmarshalText reads a level's name, in any letter case.
func (l *logLevel) UnmarshalText(text []byte) error {
	switch name := strings.ToLower(string(text)); name {
	case "debug", "info", "warn", "error":
		return l.Level.UnmarshalText([]byte(name))
	}
	return errors.New("want debug, info, warn or error")
}

// usageError is a command line or configuration that is wrong.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// exited is how kong's --help and --version end the parsing.
type exited int

// run is the whole program but for the process: it serves until the context
// ends, then drains, and returns nil when it stopped as asked.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			code, ok := p.(exited)
			if !ok {
				panic(p)
			}
			if code != 0 {
				err = &usageError{fmt.Errorf("exit %d", code)}
			}
		}
	}()
	var f flags
	parser, err := kong.New(&f,
		kong.Name("domiciled"),
		kong.Description("The Domicile gateway: data residency in front of regional storage."),
		kong.Vars{"version": version},
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exited(code)) }),
	)
	if err != nil {
		return fmt.Errorf("flags: %w", err)
	}
	line, err := parser.Parse(args)
	if err == nil && f.Config != "" && given(line, "data") {
		err = errors.New("--data is the embedded default's: with --config the file says where data is; give one of the two")
	}
	if err == nil && f.Origin != "" && f.Verb != "forget-log" {
		err = fmt.Errorf("unexpected argument %s", f.Origin)
	}
	if err != nil {
		return &usageError{fmt.Errorf("%w (see domiciled --help)", err)}
	}
	log := newLogger(stderr, f.LogLevel.Level, f.LogFormat)
	if f.Config != "" && os.Getenv("DOMICILE_DATA") != "" { // often set for the command line, so no mistake
		log.Warn("DOMICILE_DATA is not used: the configuration file says where data is")
	}
	return serve(ctx, &f, stdout, log)
}

// given reports whether a flag is on the command line, as opposed to the environment.
func given(line *kong.Context, flag string) bool {
	return slices.ContainsFunc(line.Path, func(p *kong.Path) bool { return p.Flag != nil && p.Flag.Name == flag })
}

// newLogger makes the process's log: nothing reaches it but through the redaction.
func newLogger(w io.Writer, level slog.Level, format string) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(redact.New(slog.NewJSONHandler(w, o)))
	}
	return slog.New(redact.New(slog.NewTextHandler(w, o)))
}
