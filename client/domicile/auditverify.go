package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/domicile-project/domicile/residency/audit/proof"
)

type auditVerify struct {
	Files      []string `arg:"" optional:"" name:"file" help:"Receipts to verify, as audit receipt keeps them."`
	Key        []string `required:"" sep:"none" placeholder:"KEY|@FILE" help:"The log's public key, ORIGIN+HASH+BASE64, or a file that holds it. Repeat it for the keys before it, by which older receipts and checkpoints were signed: the log's own key comes first."`
	Log        string   `placeholder:"DIR|URL" help:"Verify a whole log instead: a folder, as audit export writes it, or a URL under which one is served."`
	Checkpoint []string `sep:"none" placeholder:"FILE" help:"An earlier checkpoint that the log must contain. Repeat it for more."`
	Receipt    []string `sep:"none" placeholder:"FILE" help:"An earlier receipt whose checkpoint the log must contain. Repeat it for more."`
	Witness    []string `sep:"none" placeholder:"KEY|@FILE" help:"A witness that must have cosigned, NAME+HASH+BASE64. Repeat it for more."`
}

// fileWait is how long one file of a log that is behind a URL may take.
const fileWait = 30 * time.Second

// Run verifies, and asks no gateway: what is trusted is the key alone.
func (c *auditVerify) Run(a *app) error { return a.tell(c.Log, c.verify(a)) }

func (c *auditVerify) verify(a *app) error {
	switch {
	case c.Log == "" && len(c.Files) == 0:
		return usagef("nothing to verify: give receipts, or --log")
	case c.Log != "" && len(c.Files) > 0:
		return usagef("give receipts to verify, or --log; a receipt that the log must contain is given by --receipt")
	case c.Log == "" && len(c.Checkpoint)+len(c.Receipt) > 0:
		return usagef("--checkpoint and --receipt are what a log is compared with: they go with --log")
	}
	keys, err := readKeysOfOne(c.Key)
	if err != nil {
		return err
	}
	witnesses, err := readWitnesses(c.Witness)
	if err != nil {
		return err
	}
	if c.Log != "" {
		return c.verifyLog(a, keys, witnesses)
	}
	return c.verifyReceipts(a, keys, witnesses)
}

// verifyFailure is what programs read when something is not verified.
type verifyFailure struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
	Where string `json:"where,omitempty"` // in which file, log or service
}

func failureOf(where string, err error) verifyFailure {
	return verifyFailure{Error: err.Error(), Where: where}
}

// shownError is an error that programs have been shown already.
type shownError struct{ error }

func (e shownError) Unwrap() error { return e.error }

// shown shows programs what failed, and gives it on.
func (a *app) shown(value any, failed error) error {
	if err := a.value(value); err != nil {
		return errors.Join(failed, err)
	}
	return shownError{failed}
}

// tell shows programs that something failed, and where, unless it is shown already, and gives it on.
func (a *app) tell(where string, err error) error {
	var before shownError
	if err == nil || a.flags.Output != "json" || errors.As(err, &before) {
		return err
	}
	return a.shown(failureOf(where, err), err)
}

// verifiedLog is what was found out about a log, as programs read it.
type verifiedLog struct {
	Log      string `json:"log"`
	Verified bool   `json:"verified"`
	verifyFailure
	Fault      *foundWith `json:"fault,omitempty"`
	Head       *logHead   `json:"head,omitempty"`
	Entries    uint64     `json:"entries_verified"`
	Dropped    uint64     `json:"entries_dropped"`
	Tiles      int        `json:"tiles_verified"`
	Remembered []logHead  `json:"consistent_with,omitempty"`
	Caveat     string     `json:"caveat,omitempty"`
}

// foundWith is a fault of a log.
type foundWith struct {
	Kind   string `json:"kind"`
	Place  uint64 `json:"place,omitempty"`
	Path   string `json:"path,omitempty"`
	Detail string `json:"detail"`
}

func (c *auditVerify) verifyLog(a *app, keys logKeys, witnesses []proof.Witness) error {
	remembered, err := c.remembered(keys)
	if err != nil {
		return err
	}
	src, end, err := logSource(c.Log)
	if err != nil {
		return err
	}
	defer end()
	r, err := keys.verify(a.ctx, src, proof.Options{Witnesses: witnesses, Remembered: remembered})
	out := verifiedLog{Log: c.Log}
	var fault *proof.Fault
	switch {
	case err == nil:
		out.fill(&r)
		return a.printLog(&out)
	case errors.As(err, &fault):
		out.Fault = &foundWith{string(fault.Kind), fault.Place, fault.Path, fault.Detail}
	}
	out.verifyFailure = failureOf(c.Log, err)
	err = fmt.Errorf("%s is not verified: %s", c.Log, printable(err.Error()))
	if a.flags.Output == "json" {
		return a.shown(out, err)
	}
	return err
}

func (l *verifiedLog) fill(r *proof.Report) {
	head := headOf(&r.Checkpoint)
	l.OK, l.Verified, l.Head, l.Entries, l.Dropped, l.Tiles, l.Caveat = true, true, &head, r.Verified, r.Dropped, r.Tiles, r.Caveat()
	for i := range r.Remembered {
		l.Remembered = append(l.Remembered, headOf(&r.Remembered[i]))
	}
}

// remembered reads the checkpoints that the log must contain. Each must be the log's own.
func (c *auditVerify) remembered(keys logKeys) ([]proof.Checkpoint, error) {
	out, err := keys.remembered(c.Checkpoint)
	if err != nil {
		return nil, err
	}
	for _, name := range c.Receipt {
		receipts, err := keys.receipts(name, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for i := range receipts {
			out = append(out, receipts[i].Checkpoint)
		}
	}
	return out, nil
}

// logSource opens a log by its folder or URL.
func logSource(name string) (proof.Source, func(), error) {
	if strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://") {
		return proof.HTTP(&http.Client{Timeout: fileWait}, name), func() {}, nil
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, nil, err
	}
	return proof.Dir(root.FS()), func() { _ = root.Close() }, nil
}

func (a *app) printLog(l *verifiedLog) error {
	if a.flags.Output == "json" {
		return a.value(l)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s: verified\n", l.Log)
	for _, f := range append([]field{
		{"log", l.Head.Origin},
		{"size", strconv.FormatUint(l.Head.Size, 10)},
		{"root", l.Head.Root},
		{"entries", fmt.Sprintf("%d verified, %d dropped or withheld", l.Entries, l.Dropped)},
		{"tiles", fmt.Sprintf("%d verified", l.Tiles)},
		{"earlier", l.compared()},
	}, l.Head.witnessFields()...) {
		if f.value != "" {
			fmt.Fprintf(w, "  %s\t%s\n", f.name, printable(f.value))
		}
	}
	return w.Flush()
}

func (l *verifiedLog) compared() string {
	if l.Caveat != "" {
		return l.Caveat
	}
	sizes := make([]string, len(l.Remembered))
	for i, old := range l.Remembered {
		sizes[i] = strconv.FormatUint(old.Size, 10)
	}
	return "consistent with checkpoints of " + strings.Join(sizes, ", ") + " entries"
}
