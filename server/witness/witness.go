// Package witness knows how somebody outside is asked to cosign the checkpoints of an audit log: the protocol
// C2SP tlog-witness, over HTTP.
package witness

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/server/config"
)

// maxAnswer is the longest answer that is read.
const maxAnswer = 16 << 10

// Witness is one that is asked over HTTP. Safe for concurrent use.
type Witness struct {
	key, url string
	client   *http.Client
}

var _ gateway.Witness = (*Witness)(nil)

// New makes a witness of its configuration, which must have been validated. It asks nobody yet.
func New(c config.Witness) (*Witness, error) {
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // it is one
	t.MaxConnsPerHost, t.IdleConnTimeout, t.MaxResponseHeaderBytes = 2, 5*time.Minute, maxAnswer
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", c.CA)
		}
	}
	at, err := url.JoinPath(c.URL, "add-checkpoint")
	if err != nil {
		return nil, err
	}
	return &Witness{key: c.Key, url: at, client: &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("it redirects: configure where it is") },
	}}, nil
}

// Name is gateway.Witness: the name in its key.
func (w *Witness) Name() string {
	name, _, _ := strings.Cut(w.key, "+")
	return name
}

// Keys is gateway.Witness: the one in its configuration.
func (w *Witness) Keys() []string { return []string{w.key} }

// Cosign is gateway.Witness.
func (w *Witness) Cosign(ctx context.Context, req gateway.Cosigning) (gateway.Cosigned, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body(req)))
	if err != nil {
		return gateway.Cosigned{}, err
	}
	r.Header.Set("Content-Type", "text/plain")
	resp, err := w.client.Do(r)
	if err != nil {
		return gateway.Cosigned{}, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return gateway.Cosigned{}, err
	case len(answer) > maxAnswer:
		return gateway.Cosigned{}, fmt.Errorf("it answered more than %d bytes", maxAnswer)
	}
	out, err := w.read(resp.StatusCode, resp.Header.Get("Content-Type"), answer)
	if out.Contradiction && req.Old == 0 {
		return gateway.Cosigned{}, errors.New("it did not take the proof, though it was given none")
	}
	return out, err
}

// body writes a request: the old size, the proof, and the checkpoint.
func body(req gateway.Cosigning) []byte {
	b := fmt.Appendf(nil, "old %d\n", req.Old)
	for _, hash := range req.Proof {
		b = append(base64.StdEncoding.AppendEncode(b, hash[:]), '\n')
	}
	return append(append(b, '\n'), req.Checkpoint...)
}

// read reads an answer by its status, as the protocol has them.
func (w *Witness) read(status int, kind string, answer []byte) (gateway.Cosigned, error) {
	switch status {
	case http.StatusOK:
		if len(answer) == 0 {
			return gateway.Cosigned{}, errors.New("it answered without a signature")
		}
		return gateway.Cosigned{Lines: answer, Keys: w.Keys()}, nil
	case http.StatusUnprocessableEntity:
		return gateway.Cosigned{Contradiction: true, Keys: w.Keys()}, nil
	case http.StatusConflict:
		known, err := strconv.ParseUint(strings.TrimSuffix(string(answer), "\n"), 10, 62)
		if err != nil || kind != "text/x.tlog.size" {
			return gateway.Cosigned{}, errors.New("it answered 409 without the size that it knows")
		}
		return gateway.Cosigned{Known: known, Keys: w.Keys()}, nil
	case http.StatusNotFound:
		return gateway.Cosigned{}, errors.New("it does not know the log: give its keeper the log's public key")
	case http.StatusForbidden:
		return gateway.Cosigned{}, errors.New("it knows the log by another public key")
	}
	return gateway.Cosigned{}, fmt.Errorf("it answered status %d", status)
}
