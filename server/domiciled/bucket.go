package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/domicile-project/domicile/residency/store"
	"github.com/domicile-project/domicile/residency/store/dir"
	"github.com/domicile-project/domicile/residency/store/s3"
	"github.com/domicile-project/domicile/server/config"
)

// openBlobs opens a cluster's objects, in a folder or in a bucket.
func (s *stores) openBlobs(location string, log *slog.Logger) (store.Blobs, error) {
	if !config.IsS3(location) {
		_, folder := config.Location(location)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, err
		}
		b, err := dir.Open(folder)
		if err != nil {
			return nil, err
		}
		s.closers = append(s.closers, b.Close)
		return b, nil
	}
	o, err := bucketOptions(location, log)
	if err != nil {
		return nil, err
	}
	b, closer, err := openBucket(o, log)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, closer)
	return b, nil
}

// bucketOptions reads what a bucket's location names.
func bucketOptions(location string, log *slog.Logger) (s3.Options, error) {
	at, err := config.ParseS3(location)
	if err != nil {
		return s3.Options{}, err
	}
	o := s3.Options{
		Endpoint: at.Endpoint, Bucket: at.Bucket, Prefix: at.Prefix, Region: at.Region, Insecure: at.Insecure, Logger: log,
	}
	if o.Roots, err = authorities(at.CA); err != nil {
		return s3.Options{}, err
	}
	o.AccessKey, o.SecretKey, o.SessionToken, err = bucketCredentials(at.Credentials)
	return o, err
}

// authorities reads the certificates in a PEM file; nil, the system's, when none is named.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // nil is the system's
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate", file)
	}
	return pool, nil
}

// bucketCredentials reads credentials from a file, or from the environment when
// none is named. Its errors quote nothing of what is in there.
func bucketCredentials(file string) (access, secret, token string, err error) {
	if file == "" {
		access, secret, token = os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")
		if access == "" || secret == "" {
			return "", "", "", errors.New("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a file with ?credentials=FILE")
		}
		return access, secret, token, nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return "", "", "", err
	}
	if err := config.Private(file, info); err != nil {
		return "", "", "", err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", "", "", err
	}
	values := defaultSection(string(text))
	access, secret, token = values["aws_access_key_id"], values["aws_secret_access_key"], values["aws_session_token"]
	if access == "" || secret == "" {
		return "", "", "", fmt.Errorf("%s has no aws_access_key_id and aws_secret_access_key in its section [default]", file)
	}
	return access, secret, token, nil
}

// defaultSection gives the settings in the section [default] of a credentials
// file. It is read here and not by the S3 client, which would also run commands that such
// a file names, and fetch credentials from elsewhere.
func defaultSection(text string) map[string]string {
	values, inside := map[string]string{}, false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			inside = line == "[default]"
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok && inside && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ";") {
			values[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return values
}
