package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kong"
	"google.golang.org/grpc"

	"github.com/domicile-project/domicile/client"
)

// The exit codes, as scripts may rely on them.
const (
	exitOK     = 0
	exitError  = 1 // the call failed, and will again until something is changed
	exitUsage  = 2 // the command line is wrong; nothing was called
	exitDenied = 3 // the privacy policy refused
	exitRetry  = 4 // the gateway cannot answer now; the same command may succeed later
)

// defaultData is the data folder that a gateway without a configuration uses too.
const defaultData = "data"

// commandLine is every command and flag.
type commandLine struct {
	Identity   string  `short:"i" env:"DOMICILE_IDENTITY" placeholder:"NAME|FILE" group:"Whom to call, and how" help:"Whom to call as: an identity's name under DIR/identity, or its certificate file with the key beside it. No default."`
	Data       string  `env:"DOMICILE_DATA" default:"${data}" placeholder:"DIR" group:"Whom to call, and how" help:"The gateway's data folder, for its address and identities (default ./data)."`
	Address    string  `env:"DOMICILE_ADDRESS" placeholder:"HOST:PORT" group:"Whom to call, and how" help:"The gateway to call, instead of the one that serves from DIR."`
	CA         string  `name:"ca" env:"DOMICILE_CA" placeholder:"FILE" group:"Whom to call, and how" help:"The authority that the gateway's certificate descends from (default ca.crt beside the identity)."`
	ServerName string  `env:"DOMICILE_SERVER_NAME" placeholder:"NAME" group:"Whom to call, and how" help:"The name that the gateway's certificate is for (default the host of its address)."`
	Output     string  `short:"o" enum:"table,json" default:"table" group:"Whom to call, and how" help:"How results are written: table, or json as protobuf's JSON mapping has it."`
	Timeout    seconds `default:"15s" placeholder:"DURATION" group:"Whom to call, and how" help:"How long a call may take, streams apart (default 15s)."`

	Tenant     tenantCommands     `cmd:"" help:"Register tenants, and see where they are homed."`
	Record     recordCommands     `cmd:"" help:"Hold personal information in the tenant's home region."`
	Drive      driveCommands      `cmd:"" help:"Hold virtual drives in the tenant's home region."`
	Consent    consentCommands    `cmd:"" help:"Record consents and take them back."`
	Transfer   transferCommands   `cmd:"" help:"Ask whether data may move to another region."`
	Recipient  recipientCommands  `cmd:"" help:"Register who may receive data, and for what."`
	Order      orderCommands      `cmd:"" help:"Record legal orders, and approve them."`
	Case       caseCommands       `cmd:"" help:"Investigate suspected abuse of drives."`
	Disclosure disclosureCommands `cmd:"" help:"Give notice, object, and disclose on the record."`
	Policy     policyCommands     `cmd:"" help:"See the privacy policies in force and how they decide."`
	Audit      auditCommands      `cmd:"" help:"See what was decided."`
	Usage      usageCommands      `cmd:"" help:"See how much was transmitted, and hold it against the audit log."`
	Region     regionCommands     `cmd:"" help:"See the regions that the gateway knows."`
	Gateway    gatewayCommand     `cmd:"" help:"Describe the gateway, and whom it takes you for."`
	Tour       tourCommand        `cmd:"" help:"See the main job told on one page, with the identities of an embedded gateway."`
	Version    versionCommand     `cmd:"" help:"Print this program's version."`
}

// app is what a command works with.
type app struct {
	ctx    context.Context
	flags  *commandLine
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer

	program  string // as it was called
	decision string // the identifier of the decision over the last call
}

// run does what the arguments say, of which the first is the program as it was called, and gives the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	defer func() {
		if r := recover(); r != nil {
			exit, ok := r.(helpShown)
			if !ok {
				panic(r)
			}
			code = int(exit)
		}
	}()
	flags := &commandLine{}
	a := &app{ctx: ctx, flags: flags, stdin: stdin, stdout: stdout, stderr: stderr}
	if len(args) > 0 {
		a.program, args = args[0], args[1:]
	}
	parser, err := newParser(flags, a.hint("tour"), stdout, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "domicile:", err)
		return exitError
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if err != nil {
		return a.usageFailure(err)
	}
	return a.exitCode(command.Run(a))
}

// helpShown is thrown to leave the parser once help is on the screen.
type helpShown int

func newParser(flags *commandLine, tour string, stdout, stderr io.Writer) (*kong.Kong, error) {
	return kong.New(flags,
		kong.Name("domicile"),
		kong.Description("Talks to a Domicile gateway. Start one with `make run`, then try "+tour+".\n\n"+
			"Exit codes: 0 done, 1 error, 2 wrong usage, 3 denied by the privacy policy, 4 try again."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(helpShown(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 100}),
		enumVars(),
		kong.Vars{"data": defaultData},
	)
}

// hint names a command of this program, as it was called, in a sentence.
func (a *app) hint(words string) string { return "`" + a.name() + " " + words + "`" }

// name is the program as it was called, for a shell.
func (a *app) name() string {
	if a.program == "" {
		return "domicile"
	}
	return quoted(a.program)
}

func (a *app) usageFailure(err error) int {
	fmt.Fprintln(a.stderr, "domicile:", err)
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil && parse.Context.Selected() != nil {
		fmt.Fprintf(a.stderr, "See %s.\n", a.hint(commandPath(parse.Context)+" --help"))
	} else {
		fmt.Fprintf(a.stderr, "See %s.\n", a.hint("--help"))
	}
	return exitUsage
}

func commandPath(c *kong.Context) string {
	path := ""
	for _, p := range c.Path {
		if p.Command != nil {
			path += " " + p.Command.Name
		}
	}
	if path == "" {
		return ""
	}
	return path[1:]
}

// usageError is a mistake on the command line that the parser could not see.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// decided asks for the identifier of the decision over a call.
func (a *app) decided() grpc.CallOption { return client.DecisionID(&a.decision) }

// versionCommand prints this program's version.
type versionCommand struct{}

// Run prints it.
func (versionCommand) Run(a *app) error {
	_, err := fmt.Fprintln(a.stdout, "domicile", version)
	return err
}
