package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/domicile-project/domicile/server/config"
	"github.com/domicile-project/domicile/server/embedded"
)

// The bounds of a health check. The gateway itself takes at most 2 seconds to
// find out whether it is ready.
const (
	healthTimeout = 5 * time.Second
	healthAnswer  = 64 << 10 // bytes
)

// healthcheck asks the gateway on this machine whether calls are to be sent to it or, with
// --alive, whether it can go on at all, and fails when not. One that misses its drives alone still serves. It reads no configuration
// file: an edit that is wrong must not make a gateway look ill that serves by what it read before.
func healthcheck(ctx context.Context, f *flags, stdout io.Writer) error {
	address, err := adminAddress(f)
	if err != nil {
		return &usageError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	what := "readyz"
	if f.Alive {
		what = "healthz"
	}
	answer, err := ask(ctx, "http://"+address+"/"+what)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, answer)
	return err
}

// adminAddress is where the gateway's admin listener is: on this machine always.
func adminAddress(f *flags) (string, error) {
	address := f.Address
	if address == "" {
		address = f.AdminListen
	}
	if address == "" {
		address = embedded.AdminListen
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil || port == "" || port == "0" || !config.Loopback(address) {
		return "", fmt.Errorf("--address: want the gateway's admin address on this machine, for example %s", embedded.AdminListen)
	}
	return address, nil
}

// ask gives what the admin listener answers, in one line, and an error when that is
// not a good word. It follows no redirection and no proxy.
func ask(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", fmt.Errorf("no answer from the gateway's admin listener: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, healthAnswer))
	if err != nil {
		return "", fmt.Errorf("the gateway's admin listener broke off: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	line := strings.Join(lines, "; ")
	if response.StatusCode != http.StatusOK && !drivesOnly(lines[1:]) {
		return "", errors.New(line)
	}
	return line, nil
}
