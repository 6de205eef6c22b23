package client

import (
	"errors"
	"net"
	"strings"
	"sync"
	"time"
)

// TLSFailure is why no secure connection came about: which side refused, and
// for what. Repeating the call does not help.
type TLSFailure struct {
	// ByGateway tells that the gateway refused this client's certificate; else
	// the client refused what answered.
	ByGateway bool
	Problem   TLSProblem
}

// TLSProblem is what was wrong with a certificate or the protocol.
type TLSProblem string

// The problems.
const (
	TLSUnknownAuthority TLSProblem = "unknown authority" // the other side does not accept the authority that made the certificate
	TLSWrongName        TLSProblem = "wrong name"        // the gateway's certificate is for another name than was called
	TLSExpired          TLSProblem = "expired"           // the certificate has ended, or one clock is wrong
	TLSNoCertificate    TLSProblem = "no certificate"    // the gateway wants a certificate and got none
	TLSProtocol         TLSProblem = "protocol"          // what answers speaks no TLS, or none of version 1.3
	TLSOther            TLSProblem = "other"
)

// handshakeTexts are what Go's TLS says of failures, the first match counts. gRPC hands
// on nothing but the text.
var handshakeTexts = []struct {
	part string
	TLSFailure
}{
	{"remote error: tls: unknown certificate authority", TLSFailure{true, TLSUnknownAuthority}},
	{"remote error: tls: expired certificate", TLSFailure{true, TLSExpired}},
	{"remote error: tls: certificate required", TLSFailure{true, TLSNoCertificate}},
	{"remote error: tls: protocol version not supported", TLSFailure{false, TLSProtocol}},
	{"remote error: tls: ", TLSFailure{true, TLSOther}},
	{"x509: certificate signed by unknown authority", TLSFailure{false, TLSUnknownAuthority}},
	{"x509: certificate has expired or is not yet valid", TLSFailure{false, TLSExpired}},
	{"x509: certificate is valid for ", TLSFailure{false, TLSWrongName}},
	{"x509: certificate is not valid for any names", TLSFailure{false, TLSWrongName}},
	{"x509: cannot validate certificate for ", TLSFailure{false, TLSWrongName}},
	{"tls: first record does not look like a TLS handshake", TLSFailure{false, TLSProtocol}},
	{"tls: server selected unsupported protocol version", TLSFailure{false, TLSProtocol}},
	{"tls: failed to verify certificate", TLSFailure{false, TLSOther}},
	{"authentication handshake failed: tls: ", TLSFailure{false, TLSOther}},
}

// tlsFailure reads gRPC's text about a connection that did not come about; nil
// when it is about something else.
func tlsFailure(message string) *TLSFailure {
	for _, t := range handshakeTexts {
		if strings.Contains(message, t.part) {
			failure := t.TLSFailure
			return &failure
		}
	}
	return nil
}

// alertWait is how long a write that failed waits for the reason to be read.
const alertWait = 200 * time.Millisecond

// telling is a connection that tells why the gateway closed it. In TLS 1.3 a client's
// certificate is judged after the client has begun to write: a write then
// fails with a broken pipe, and the reason is there to be read.
type telling struct {
	net.Conn
	once  sync.Once
	alert error         // what ended the reading, when it was the gateway's alert
	ended chan struct{} // closed when the reading has ended
}

// Read reads, and keeps the alert that ends it.
func (c *telling) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.once.Do(func() {
			var op *net.OpError
			if errors.As(err, &op) && op.Op == "remote error" {
				c.alert = err
			}
			close(c.ended)
		})
	}
	return n, err
}

// Write writes; its error is the gateway's alert when there is one.
func (c *telling) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil {
		return n, nil
	}
	wait := time.NewTimer(alertWait)
	defer wait.Stop()
	select {
	case <-c.ended:
		if c.alert != nil {
			return n, c.alert
		}
	case <-wait.C:
	}
	return n, err
}
