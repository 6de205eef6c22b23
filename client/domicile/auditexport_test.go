package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/domicile-project/domicile/client"
	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// logGateway is a gateway that hands over the files that it has, in their order.
type logGateway struct {
	residencyv1.UnimplementedAuditServiceServer
	key   string
	size  int64
	files []*residencyv1.ExportLogResponse
}

func (g *logGateway) GetCheckpoint(context.Context, *residencyv1.GetCheckpointRequest) (*residencyv1.GetCheckpointResponse, error) {
	return &residencyv1.GetCheckpointResponse{VerifierKey: g.key, Size: g.size}, nil
}

func (g *logGateway) ExportLog(_ *residencyv1.ExportLogRequest, stream grpc.ServerStreamingServer[residencyv1.ExportLogResponse]) error {
	for _, f := range g.files {
		if err := stream.Send(f); err != nil {
			return err
		}
	}
	return nil
}

// client gives a client of the gateway.
func (g *logGateway) client(t *testing.T) *client.Client {
	t.Helper()
	pipe := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	residencyv1.RegisterAuditServiceServer(server, g)
	go func() { _ = server.Serve(pipe) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:gateway", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return pipe.Dial() }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client.Client{Audit: residencyv1.NewAuditServiceClient(conn)}
}

// has makes the gateway hand over a log, its checkpoint last.
func (g *logGateway) has(t *testing.T, l keyedLog) {
	t.Helper()
	g.key = l.key
	for _, path := range logFiles(t, l.dir) {
		if path != "checkpoint" {
			g.hands(t, l, path)
		}
	}
	g.hands(t, l, "checkpoint")
}

func (g *logGateway) hands(t *testing.T, l keyedLog, path string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(l.dir, filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	g.files = append(g.files, &residencyv1.ExportLogResponse{Path: path, Data: data})
}

// export runs an export from the gateway, without a connection of its own.
func (g *logGateway) export(t *testing.T, dir string, stderr *os.File) (*mirror, error) {
	t.Helper()
	a := &app{ctx: t.Context(), flags: &commandLine{}, stderr: stderr}
	m := &mirror{dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return m, m.bring(a, g.client(t), &auditExport{logArgs: logArgs{Region: "ch"}, Dir: dir}, nil)
}

// A gateway hands over each file of a log once, and the checkpoint behind all others; of anything else nothing is taken.
func TestExportTakesALogAlone(t *testing.T) {
	_, whole := mirrored(t, 1, 300)
	more := func(path string) *residencyv1.ExportLogResponse {
		return &residencyv1.ExportLogResponse{Path: path, Data: []byte("more")}
	}
	for name, c := range map[string]struct {
		change func(files []*residencyv1.ExportLogResponse) []*residencyv1.ExportLogResponse
		says   string
	}{
		"as it should be": {func(files []*residencyv1.ExportLogResponse) []*residencyv1.ExportLogResponse { return files }, ""},
		"no checkpoint":   {func(files []*residencyv1.ExportLogResponse) []*residencyv1.ExportLogResponse { return files[:1] }, "broke off"},
		"the checkpoint first": {func(files []*residencyv1.ExportLogResponse) []*residencyv1.ExportLogResponse {
			return append(files[len(files)-1:len(files):len(files)], files...)
		}, "behind the checkpoint"},
		"a file twice": {func(files []*residencyv1.ExportLogResponse) []*residencyv1.ExportLogResponse {
			return append(files[:1:1], files...)
		}, "twice"},
		"another file": {func(files []*residencyv1.ExportLogResponse) []*residencyv1.ExportLogResponse {
			return append([]*residencyv1.ExportLogResponse{more("tile/../../x")}, files...)
		}, "none of a log's"},
	} {
		g := &logGateway{}
		g.has(t, whole)
		g.files = c.change(g.files)
		dir := filepath.Join(t.TempDir(), "mirror")
		_, err := g.export(t, dir, nil)
		if c.says == "" {
			if _, errs, code := try(t, "audit", "verify", "--log", dir, "--key", whole.key); err != nil || code != exitOK {
				t.Errorf("%s: %v, exit code %d\n%s", name, err, code, errs)
			}
			continue
		}
		left, _ := os.ReadDir(dir)
		if err == nil || !strings.Contains(err.Error(), c.says) || len(left) != 0 {
			t.Errorf("%s: %v, want %q; left are %v", name, err, c.says, left)
		}
	}
}

// Of two exports into one folder one is refused, until the other has ended; and nothing is left of the lock.
func TestOneExportAtATime(t *testing.T) {
	for _, there := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "mirror")
		if there {
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		release, err := lockFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, errs, code := try(t, "audit", "export", "ch", dir); code != exitError || !strings.Contains(errs, "another audit export is writing to "+dir) {
			t.Errorf("exit code %d\n%s", code, errs)
		}
		release()
		if _, errs, code := try(t, "audit", "export", "ch", dir); code != exitError || strings.Contains(errs, "another audit export") || !strings.Contains(errs, "no gateway") {
			t.Errorf("exit code %d\n%s", code, errs)
		}
		left, err := os.ReadDir(dir)
		if len(left) != 0 || there != (err == nil) || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left are %v, %v", left, err)
		}
	}
}

// terminal gives both ends of a terminal.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no terminal can be made here:", err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

// On a terminal an export says what it will fetch, and that it waits; anywhere else it says neither.
func TestExportSaysWhatItFetches(t *testing.T) {
	_, whole := mirrored(t, 1, 300)
	g := &logGateway{size: 300}
	g.has(t, whole)
	master, slave := terminal(t)
	if _, err := g.export(t, filepath.Join(t.TempDir(), "mirror"), slave); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(slave, "\nend")
	said := ""
	for lines := bufio.NewScanner(master); lines.Scan() && !strings.HasSuffix(lines.Text(), "end"); {
		said += lines.Text() + "\n"
	}
	want := fmt.Sprintf("fetching the log domicile.test/ch/ch-1: 300 entries, in about %d files", len(g.files))
	if !strings.Contains(said, want) || !strings.Contains(said, "waiting for the gateway") {
		t.Errorf("want %q in %q", want, said)
	}
	quiet, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer quiet.Close()
	if _, err := g.export(t, filepath.Join(t.TempDir(), "mirror"), quiet); err != nil {
		t.Fatal(err)
	}
	if info, err := quiet.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("%v: %d bytes were said to what is no terminal", err, info.Size())
	}
}

// How many files are to come is what does come, of logs of all sizes.
func TestFilesOfALog(t *testing.T) {
	for _, c := range []struct{ from, size, files int64 }{
		{0, 1, 3}, {0, 256, 4}, {0, 257, 6}, {0, 1000, 10}, {256, 257, 4}, {300, 300, 1}, {300, 256, 1}, {65535, 65536, 5}, {65536, 65537, 4},
	} {
		if got := filesOf(c.from, c.size); got != c.files {
			t.Errorf("behind %d of %d entries: %d files, want %d", c.from, c.size, got, c.files)
		}
	}
}
