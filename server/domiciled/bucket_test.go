package main

import (
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/storetest"
)

// TestBlobsInABucket opens a cluster's objects by a location as operators write it,
// with credentials from a file and from the environment.
func TestBlobsInABucket(t *testing.T) {
	server := storetest.StartS3(t)
	location := "s3://" + server.Endpoint + "/" + server.Bucket + "/ch/zrh-1?tls=off&region=" + server.Region
	file := filepath.Join(t.TempDir(), "credentials")
	text := "# of the test\n[other]\naws_access_key_id = no\n\n[default]\naws_access_key_id = " + server.AccessKey +
		"\naws_secret_access_key=" + server.SecretKey + "\nregion = elsewhere\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &stores{}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	b, err := s.openBlobs(location+"&credentials="+file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w, err := b.Create(t.Context(), "tenant/chunk")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "data"); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(server.Folder(), "ch/zrh-1/objects/tenant.chunk")); err != nil {
		t.Error(err)
	}

	if _, err := s.openBlobs(location, nil); err == nil || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
		t.Errorf("without credentials: %v", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	if b, err = s.openBlobs(location, nil); err != nil {
		t.Fatal(err)
	}
	r, err := b.Open(t.Context(), "tenant/chunk", 0, 4)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); string(got) != "data" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	if _, err := s.openBlobs(location, nil); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("with a wrong secret: %v", err)
	}
}

func TestCredentialFilesThatAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	for text, want := range map[string]string{
		"[default]\naws_access_key_id = canary\n":                                       "has no aws_access_key_id and",
		"aws_access_key_id = canary\naws_secret_access_key = canary\n":                  "has no aws_access_key_id and",
		"[default]\n#aws_access_key_id = canary\naws_secret_access_key = canary\n":      "has no aws_access_key_id and",
		"[default]\ncredential_process = /bin/canary now\n":                             "has no aws_access_key_id and",
		"[default]\naws_access_key_id = canary\naws_secret_access_key = canary\nopen\n": "make it 0600",
	} {
		mode := os.FileMode(0o600)
		if strings.HasSuffix(text, "open\n") {
			mode = 0o644
		}
		if err := errors.Join(os.WriteFile(file, []byte(text), mode), os.Chmod(file, mode)); err != nil {
			t.Fatal(err)
		}
		_, _, _, err := bucketCredentials(file)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("got the error %v, want one that says %q", err, want)
		}
	}
	if _, _, _, err := bucketCredentials(file + "-absent"); err == nil {
		t.Error("an absent file was read")
	}
}

func TestAuthorities(t *testing.T) {
	if pool, err := authorities(""); pool != nil || err != nil {
		t.Errorf("got %v, %v; want the system's", pool, err)
	}
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(file, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	if pool, err := authorities(file); err != nil || pool == nil {
		t.Errorf("got %v, %v", pool, err)
	}
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := authorities(file); err == nil {
		t.Error("a file without a certificate was taken")
	}
}
