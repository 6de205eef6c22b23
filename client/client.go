// Package client is the Go client of a Domicile gateway: it knows how to reach
// one safely, which calls may be repeated when it does not answer, and what its
// refusals mean.
//
// A connection is mutual TLS 1.3 and nothing else. Calls are the generated
// stubs of residency.v1, one per service, as fields of Client; every error that
// they return is a *Denied (the privacy policy refused) or an *Error (anything
// else), found with errors.As, and still gives its gRPC status to status.FromError.
package client

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/keepalive"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// Defaults of Options.
const (
	DefaultTimeout     = 15 * time.Second
	DefaultMaxAttempts = 4
)

// maxMessage is the largest answer that is accepted, in bytes: a full page of
// records. Drive data comes in messages of at most MaxDriveMessage.
const maxMessage = 64 << 20

// The connection is probed only while calls are open. Gateways tolerate a probe
// every 10 s unless their limits.keepalive_min says otherwise.
const (
	keepaliveTime    = 30 * time.Second
	keepaliveTimeout = 10 * time.Second
)

// Options say which gateway to call and as whom.
type Options struct {
	// Address is the gateway's "host:port", or any gRPC target such as
	// "dns:///gateway.example.org:8443". Calls are spread over all addresses that it
	// resolves to. Required.
	Address string

	// Identity is whom the client calls as, and which authority vouches for the
	// gateway. Required.
	Identity Identity

	// ServerName is the name that the gateway's certificate must be for; "" = the
	// host of Address. It says nothing of other endpoints: see FollowHome.
	ServerName string

	// UserAgent goes before gRPC's own; "" = "domicile-go".
	UserAgent string

	// Timeout bounds a unary call whose context has no deadline, all its attempts
	// together; 0 = DefaultTimeout. Streams are bounded by the gateway alone.
	Timeout time.Duration

	// MaxAttempts is how often a call that is safe to repeat is made at the most,
	// the first time included; 0 = DefaultMaxAttempts, 1 = never repeated.
	MaxAttempts int

	// FollowHome says whether a call that the tenant's home refuses with
	// USE_HOME_ENDPOINT, since it came by a gateway in a third place, is made once more at the
	// endpoint that the refusal names. The zero value does.
	FollowHome Following
}

// Following says whether calls go where a gateway sends them.
type Following uint8

// What can be chosen.
const (
	// FollowOnce takes a call to one other endpoint at the most, which must be a "host:port",
	// within the call's deadline, as the same Identity. The endpoint must show a certificate of Identity.CA for
	// the host that was named, whatever Options.ServerName is; before it has, neither the client's own
	// certificate nor anything of the call is sent. Which endpoint a tenant's calls go to is
	// remembered until that one sends them on or cannot be reached.
	FollowOnce Following = iota

	// FollowNever calls Options.Address alone: the refusal is the answer.
	FollowNever
)

// Client is a connection to a gateway, and where that one sends calls to others, with a
// stub per service. It is safe for concurrent use, and meant to be kept: one per process and identity.
type Client struct {
	Tenants     residencyv1.TenantServiceClient
	Records     residencyv1.RecordServiceClient
	Drives      residencyv1.DriveServiceClient
	Consents    residencyv1.ConsentServiceClient
	Transfers   residencyv1.TransferServiceClient
	Disclosures residencyv1.DisclosureServiceClient
	Policies    residencyv1.PolicyServiceClient
	Audit       residencyv1.AuditServiceClient
	Usage       residencyv1.UsageServiceClient
	Gateway     residencyv1.GatewayServiceClient

	conn    *grpc.ClientConn
	retries *retrier
	homes   *homes
}

// Dial reads the identity's files and begins to connect. It does not wait for
// the gateway: a call does, and WaitReady can. It fails when an option is
// wrong, a file cannot be used, or ctx has ended.
func Dial(ctx context.Context, o Options) (*Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	if o.Address == "" {
		return nil, fmt.Errorf("client: Options.Address is empty: want the gateway's host:port")
	}
	creds, err := newCredentials(o.Identity)
	if err != nil {
		return nil, err
	}
	c, err := open(o, grpc.WithTransportCredentials(creds))
	if err != nil {
		return nil, err
	}
	c.conn.Connect()
	return c, nil
}

// open makes the client over whatever transport the extra options name.
func open(o Options, extra ...grpc.DialOption) (*Client, error) {
	o = o.withDefaults()
	r := newRetrier(o.MaxAttempts)
	shared := append(dialOptions(o), extra...)
	homes := newHomes(o, func(endpoint string) (*grpc.ClientConn, error) {
		target, err := endpointTarget(endpoint)
		if err != nil {
			return nil, err
		}
		return grpc.NewClient(target, shared...)
	})
	opts := append(shared[:len(shared):len(shared)],
		grpc.WithChainUnaryInterceptor(unary(r, homes, o.Timeout)),
		grpc.WithChainStreamInterceptor(stream(homes)))
	if o.ServerName != "" {
		opts = append(opts, grpc.WithAuthority(o.ServerName))
	}
	conn, err := grpc.NewClient(target(o.Address), opts...)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return newClient(conn, r, homes), nil
}

// dialOptions are those of every connection, to whichever endpoint.
func dialOptions(o Options) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithUserAgent(o.UserAgent),
		grpc.WithDisableRetry(), // gRPC's own retries know no RetryInfo and no request_id: see retry.go
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 10 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	}
}

func newClient(conn *grpc.ClientConn, r *retrier, h *homes) *Client {
	return &Client{
		Tenants:     residencyv1.NewTenantServiceClient(conn),
		Records:     residencyv1.NewRecordServiceClient(conn),
		Drives:      residencyv1.NewDriveServiceClient(conn),
		Consents:    residencyv1.NewConsentServiceClient(conn),
		Transfers:   residencyv1.NewTransferServiceClient(conn),
		Disclosures: residencyv1.NewDisclosureServiceClient(conn),
		Policies:    residencyv1.NewPolicyServiceClient(conn),
		Audit:       residencyv1.NewAuditServiceClient(conn),
		Usage:       residencyv1.NewUsageServiceClient(conn),
		Gateway:     residencyv1.NewGatewayServiceClient(conn),
		conn:        conn,
		retries:     r,
		homes:       h,
	}
}

func (o Options) withDefaults() Options {
	if o.UserAgent == "" {
		o.UserAgent = "domicile-go"
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxAttempts <= 0 {
		o.MaxAttempts = DefaultMaxAttempts
	}
	return o
}

// target leaves a numeric address out of name resolution and of proxies.
func target(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err == nil && net.ParseIP(host) != nil {
		return "passthrough:///" + address
	}
	return address
}

// Conn is the connection itself, for services that have no stub here, such as
// grpc.health.v1.Health.
func (c *Client) Conn() *grpc.ClientConn { return c.conn }

// State is the connection's state now.
func (c *Client) State() connectivity.State { return c.conn.GetState() }

// WaitReady waits until the gateway is connected, over verified TLS, or ctx ends.
func (c *Client) WaitReady(ctx context.Context) error {
	for {
		s := c.conn.GetState()
		if s == connectivity.Ready {
			return nil
		}
		if s == connectivity.Shutdown {
			return fmt.Errorf("client: the client is closed")
		}
		c.conn.Connect()
		if !c.conn.WaitForStateChange(ctx, s) {
			return fmt.Errorf("client: the gateway did not become reachable, last state %s: %w", s, ctx.Err())
		}
	}
}

// Close ends the connections and every call on them.
func (c *Client) Close() error {
	c.homes.shut()
	return c.conn.Close()
}
