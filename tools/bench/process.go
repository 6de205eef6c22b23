package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// process is a program that was started for the benchmark.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

// start runs a program until stop or the context's end. What it says on its
// standard error goes to ours.
func start(ctx context.Context, program string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // the programs are the benchmark's own
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd: cmd, stdin: stdin, out: bufio.NewReader(stdout)}, nil
}

// stop ends the program and waits for it. How it ends is of no interest: what it
// did was checked while it ran.
func (p *process) stop() {
	p.stdin.Close()
	p.cmd.Process.Signal(os.Interrupt) //nolint:errcheck // it may have ended already
	drain(p.out)
	p.cmd.Wait() //nolint:errcheck // see above
}

// kill is stop for a program that has nothing to put in order.
func (p *process) kill() {
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended already
	p.stop()
}

// tick is the unit of CPU time in /proc/PID/stat: USER_HZ, 100 a second on every
// Linux (proc_pid_stat(5)).
const tick = 10 * time.Millisecond

// cpu gives the CPU time that the program has used so far, in its own code and
// in the kernel on its behalf.
func (p *process) cpu() (time.Duration, error) {
	b, err := os.ReadFile(p.proc("stat"))
	if err != nil {
		return 0, err
	}
	text := string(b)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // from field 3 on
	if len(fields) < 13 {
		return 0, errors.New("cannot read /proc/PID/stat")
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return 0, err
	}
	return time.Duration(user+system) * tick, nil
}

// resident gives how many bytes of memory the program occupies now.
func (p *process) resident() (int64, error) {
	b, err := os.ReadFile(p.proc("status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("/proc/PID/status holds no VmRSS")
}

func (p *process) proc(name string) string {
	return fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name)
}

// settle waits until the program does next to nothing, at the most a minute:
// compaction after many writes must not be counted for what comes next.
func (p *process) settle(ctx context.Context) error {
	const window, quiet = 500 * time.Millisecond, 2 * tick
	for range 120 {
		before, err := p.cpu()
		if err != nil {
			return err
		}
		wait(ctx, window)
		after, err := p.cpu()
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if after-before <= quiet {
			return nil
		}
	}
	return nil
}

// loaded gives a running server its load generator.
func loaded(ctx context.Context, p *process, to *target) (*server, error) {
	s, err := startAlone(ctx, "-address", to.Address, "-identities", to.Identities, "-authority", to.Authority)
	if err != nil {
		p.stop()
		return nil, err
	}
	s.process = p
	return s, nil
}

// startAlone starts a load generator that is its own server.
func startAlone(ctx context.Context, args ...string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	load, err := start(ctx, self, append([]string{"load"}, args...)...)
	if err != nil {
		return nil, err
	}
	return &server{process: load, load: load, in: json.NewEncoder(load.stdin), out: json.NewDecoder(load.out)}, nil
}

// startGateway starts the gateway on the embedded default, in a folder.
func startGateway(ctx context.Context, bin, data string) (*server, error) {
	p, address, err := serveEmbedded(ctx, bin, data)
	if err != nil {
		return nil, err
	}
	return loaded(ctx, p, identities(filepath.Join(data, "identity"), address))
}

// serveEmbedded is startGateway without a load generator.
func serveEmbedded(ctx context.Context, bin, data string) (*process, string, error) {
	p, err := start(ctx, filepath.Join(bin, "domiciled"), "--data", data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-level", "error")
	if err != nil {
		return nil, "", err
	}
	go drain(p.out) // its banner
	address, err := served(ctx, filepath.Join(data, "addresses.json"))
	if err != nil {
		p.stop()
		return nil, "", err
	}
	return p, address, nil
}

// drain reads what a program prints, so that it is never held up by it.
func drain(r io.Reader) {
	io.Copy(io.Discard, r) //nolint:errcheck // until it ends
}

// identities is a server that trusts, and is trusted by, a folder of identities.
func identities(dir, address string) *target {
	return &target{Address: address, Identities: dir, Authority: filepath.Join(dir, "ca.crt")}
}

// served waits for the file in which a gateway says where it serves.
func served(ctx context.Context, file string) (string, error) {
	for range 600 {
		b, err := os.ReadFile(file)
		if err == nil {
			var addresses struct{ GRPC string }
			err = json.Unmarshal(b, &addresses)
			return addresses.GRPC, err
		}
		wait(ctx, 50*time.Millisecond)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
	}
	return "", fmt.Errorf("the gateway did not serve within 30 s: there is no %s", file)
}

// startPeer starts the bare gRPC server, without TLS.
func startPeer(ctx context.Context, bin string) (*server, error) {
	p, address, err := peerAddress(ctx, bin)
	if err != nil {
		return nil, err
	}
	return loaded(ctx, p, &target{Address: address})
}

// startSecurePeer starts the bare gRPC server with mutual TLS, trusting the
// identities of a gateway's folder.
func startSecurePeer(ctx context.Context, bin, data string, args ...string) (*server, error) {
	own := filepath.Join(data, "peer-ca.crt")
	p, address, err := peerAddress(ctx, bin, append(args, "-client-ca", filepath.Join(data, "identity", "ca.crt"), "-own-ca", own)...)
	if err != nil {
		return nil, err
	}
	to := identities(filepath.Join(data, "identity"), address)
	to.Authority = own
	return loaded(ctx, p, to)
}

func peerAddress(ctx context.Context, bin string, args ...string) (*process, string, error) {
	p, err := start(ctx, filepath.Join(bin, "peer"), args...)
	if err != nil {
		return nil, "", err
	}
	address, err := p.out.ReadString('\n')
	if err != nil {
		p.stop()
		return nil, "", fmt.Errorf("the peer did not serve: %w", err)
	}
	return p, strings.TrimSpace(address), nil
}
