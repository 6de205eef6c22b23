package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/s3"
	"github.com/domicile-project/domicile/residency/store/storetest"
	"github.com/domicile-project/domicile/server/embedded"
)

// withBucket writes a configuration in which the Swiss region's blobs are in a
// bucket, and the identities for it.
func withBucket(t *testing.T, location string) (file, data string) {
	t.Helper()
	dir := t.TempDir()
	data = filepath.Join(dir, "data")
	home, err := embedded.Open(data, time.Now())
	if err = errors.Join(err, home.Close()); err != nil {
		t.Fatal(err)
	}
	var out output
	if err := run(t.Context(), []string{"--data", data, "--print-config"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	was := "file:" + filepath.Join(data, "ch", "blobs")
	if !strings.Contains(out.String(), was) {
		t.Fatalf("no %s in\n%s", was, out.String())
	}
	file = filepath.Join(dir, "domicile.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(out.String(), was, location)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, data
}

// writeDrive writes a few bytes.
func writeDrive(t *testing.T, conn *grpc.ClientConn) error {
	t.Helper()
	w, err := residencyv1.NewDriveServiceClient(conn).WriteDrive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*residencyv1.WriteDriveRequest{
		{Content: &residencyv1.WriteDriveRequest_Header{Header: &residencyv1.WriteDriveHeader{
			TenantId: "acme", DriveId: "d", Purpose: residencyv1.Purpose_PURPOSE_SERVICE_PROVISION,
		}}},
		{Content: &residencyv1.WriteDriveRequest_Data{Data: []byte("some bytes")}},
	} {
		if err := w.Send(m); err != nil {
			break // CloseAndRecv says why
		}
	}
	_, err = w.CloseAndRecv()
	return err
}

// reason gives the word from the error catalogue.
func reason(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.Reason
		}
	}
	return ""
}

// A gateway that is started while its bucket is away serves what needs no bucket,
// says what is missing, and serves the rest once the bucket is there.
func TestStartWithoutTheBucket(t *testing.T) {
	server := storetest.StartS3(t)
	server.Stop()
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	file, data := withBucket(t, "s3://"+server.Endpoint+"/"+server.Bucket+"?tls=off&region="+server.Region)
	p := launch(t, data, "--config", file)
	admin, app := p.as("admin-ch"), p.as("app-ch")
	_, err := residencyv1.NewDriveServiceClient(app).CreateDrive(t.Context(), &residencyv1.CreateDriveRequest{TenantId: "acme", DriveId: "d", SizeBytes: 1 << 20})
	if status.Code(err) != codes.NotFound { // there is no tenant yet
		t.Errorf("CreateDrive: %v", err)
	}
	if err := errors.Join(register(t.Context(), admin, "acme", "CH"), put(t.Context(), app, "acme")); err != nil {
		t.Errorf("a record, which needs no bucket: %v", err)
	}
	if name, err := get(t.Context(), app, "acme"); err != nil || name != canary {
		t.Errorf("the record is %q, %v", name, err)
	}
	if _, err := residencyv1.NewDriveServiceClient(app).CreateDrive(t.Context(), &residencyv1.CreateDriveRequest{TenantId: "acme", DriveId: "d", SizeBytes: 1 << 20}); err != nil {
		t.Error(err)
	}
	if err := writeDrive(t, app); status.Code(err) != codes.Unavailable || reason(err) != "REGION_UNAVAILABLE" {
		t.Errorf("a drive, which needs it: %v", err)
	}
	if code, text := p.http("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(text, "region ch: no answer from its blobs") {
		t.Errorf("readyz: %d %s", code, text)
	}
	if code, text := p.http("/healthz"); code != http.StatusOK {
		t.Errorf("healthz: %d %s; a new start would not help", code, text)
	}
	if log := p.stderr.String(); !strings.Contains(log, "the bucket does not answer") {
		t.Errorf("the log says\n%s", log)
	}

	server.Start()
	waitFor(t, func() bool { code, _ := p.http("/readyz"); return code == http.StatusOK })
	if err := writeDrive(t, app); err != nil {
		t.Errorf("a drive, once the bucket is there: %v", err)
	}
	if err := p.end(); err != nil {
		t.Error(err)
	}
}

// A bucket that answers and is wrong keeps the gateway from starting.
func TestWrongBucketsAreRefused(t *testing.T) {
	server := storetest.StartS3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	file, _ := withBucket(t, "s3://"+server.Endpoint+"/another?tls=off&region="+server.Region)
	err := run(t.Context(), []string{"--config", file}, io.Discard, io.Discard)
	if !errors.Is(err, s3.ErrRefused) || !strings.Contains(err.Error(), "404 NoSuchBucket") {
		t.Errorf("an absent bucket: %v", err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	file, _ = withBucket(t, "s3://"+server.Endpoint+"/"+server.Bucket+"?tls=off&region="+server.Region)
	if err := run(t.Context(), []string{"--config", file}, io.Discard, io.Discard); !errors.Is(err, s3.ErrRefused) {
		t.Errorf("wrong credentials: %v", err)
	}
}

// A bucket that turns out to be wrong when it answers at last is not used, and
// said to be wrong once.
func TestLateBucketIsWrong(t *testing.T) {
	var up atomic.Bool
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		asked.Add(1)
		fmt.Fprint(w, `<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`)
	}))
	defer server.Close()
	var log output
	o := s3.Options{
		Endpoint: strings.TrimPrefix(server.URL, "http://"), Bucket: "objects", Insecure: true, AccessKey: "a", SecretKey: "s",
	}
	b, closer, err := openBucket(o, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	up.Store(true)
	waitFor(t, func() bool { return asked.Load() > 1 })
	if err := closer(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "is or was versioned"); n != 1 {
		t.Errorf("it is said %d times in\n%s", n, log.String())
	}
	_, err = b.Open(t.Context(), "a", 0, 1)
	for what, err := range map[string]error{
		"Open": err, "Delete": b.Delete(t.Context(), "a"), "List": b.List(t.Context(), "", func(string) bool { return true }),
	} {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := b.Create(t.Context(), "a"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Create: %v", err)
	}

	_, _, err = openBucket(o, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "versioned") {
		t.Errorf("at the next start: %v", err)
	}
}
