package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/domicile-project/domicile/residency/store"
)

const (
	defaultRegion = "us-east-1"

	dialTimeout      = 5 * time.Second
	handshakeTimeout = 10 * time.Second
	idleTimeout      = 30 * time.Second // a connection on which no byte has moved for so long has failed
	keepIdle         = 20 * time.Second // less than idleTimeout, so that no idle connection fails
	maxIdle          = 64               // connections without a request that are kept
	maxConnections   = 1024

	attempts   = 4                      // how often a request is made
	firstPause = 100 * time.Millisecond // before the second time; then twice as long each time
)

// client makes what speaks to the server. It follows no redirection and asks no proxy: another
// place is never a fallback. It repeats nothing by itself; try does.
func (o *Options) client() (*minio.Core, *http.Transport, error) {
	idle := o.idle
	if idle == 0 {
		idle = idleTimeout
	}
	transport := &http.Transport{
		DialContext:         dialer{idle: idle, insecure: o.Insecure}.dial,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Roots},
		TLSHandshakeTimeout: handshakeTimeout,
		MaxIdleConns:        maxIdle,
		MaxIdleConnsPerHost: maxIdle,
		MaxConnsPerHost:     maxConnections,
		IdleConnTimeout:     keepIdle,
		DisableCompression:  true, // else a range might come compressed
	}
	region := o.Region
	if region == "" {
		region = defaultRegion
	}
	api, err := minio.NewCore(o.Endpoint, &minio.Options{
		Creds:      credentials.NewStaticV4(o.AccessKey, o.SecretKey, o.SessionToken),
		Secure:     !o.Insecure,
		Region:     region,
		Transport:  transport,
		MaxRetries: 1,
	})
	if err != nil {
		return nil, nil, errors.New("s3: the endpoint must be HOST or HOST:PORT")
	}
	return api, transport, nil
}

// loopback reports whether an endpoint says that it is this machine.
func loopback(endpoint string) bool {
	host := endpoint
	if h, _, err := net.SplitHostPort(endpoint); err == nil {
		host = h
	}
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

type dialer struct {
	idle     time.Duration
	insecure bool
}

func (d dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if to, ok := c.RemoteAddr().(*net.TCPAddr); d.insecure && (!ok || !to.IP.IsLoopback()) {
		return nil, errors.Join(errors.New("without TLS the server must be on a loopback address"), c.Close())
	}
	return &conn{c, d.idle}, nil
}

// conn fails when no byte has moved in either direction for a while, so that a
// server that hangs is noticed however long the request's context is.
type conn struct {
	net.Conn
	idle time.Duration
}

func (c *conn) Read(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// try makes a request, again after a pause when it may succeed then. Whoever
// calls it makes sure that doing it twice does no harm. Its error is raw.
func (b *Blobs) try(ctx context.Context, do func() error) error {
	pause := b.pause
	for n := 1; ; n++ {
		err := do()
		if err == nil || n == attempts || ctx.Err() != nil || !transient(err) {
			return err
		}
		select {
		case <-time.After(pause/2 + time.Duration(time.Now().UnixNano())%pause): // not all callers at the same moment
		case <-ctx.Done():
			return err
		}
		pause *= 2
	}
}

// transient reports whether a request that failed may succeed later.
func transient(err error) bool {
	var answer minio.ErrorResponse
	if errors.As(err, &answer) {
		switch answer.StatusCode {
		case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
			http.StatusTooManyRequests, http.StatusRequestTimeout:
			return true
		}
		switch answer.Code {
		case "SlowDown", "InternalError", "RequestTimeout", "ConditionalRequestConflict", "OperationAborted":
			return true
		}
		return false
	}
	var untrusted *tls.CertificateVerificationError
	return !errors.As(err, &untrusted)
}

// is reports whether the server's answer has one of these codes.
func is(err error, codes ...string) bool {
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) {
		return false
	}
	for _, c := range codes {
		if answer.Code == c {
			return true
		}
	}
	return false
}

// ErrRefused is also wrapped by an error when the server answered, and would
// answer the same again: there is no such bucket, or the credentials are not good for it.
var ErrRefused = errors.New("the server refuses")

// refusal is what the server answered, as an ErrRefused.
type refusal struct{ error }

func (refusal) Is(target error) bool { return target == ErrRefused }

// failed gives an error of the client or the server the store's kind, and a
// text without keys, addresses or whatever else the original one quotes.
func failed(ctx context.Context, op string, err error) error {
	if ended := ctx.Err(); ended != nil {
		return fmt.Errorf("%w: s3 %s: %w", store.ErrUnavailable, op, ended)
	}
	return fmt.Errorf("%w: s3 %s: %w", store.ErrUnavailable, op, plain(err))
}

func plain(err error) error {
	var answer minio.ErrorResponse
	if errors.As(err, &answer) {
		text := fmt.Errorf("the server answers %d %s", answer.StatusCode, word(answer.Code))
		if !transient(err) {
			return refusal{text}
		}
		return text
	}
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		return errors.New("the server's certificate is not trusted, or not for this host")
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("the server did not answer in time")
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return errors.New("the connection failed")
}

// word gives a code of the server's if it is one.
func word(code string) string {
	ok := len(code) > 0 && len(code) <= 64
	for _, c := range []byte(code) {
		ok = ok && ('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9')
	}
	if !ok {
		return "without a code"
	}
	return code
}
