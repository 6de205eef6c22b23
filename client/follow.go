package client

import (
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// place is where a call is made; the zero place is Options.Address.
type place struct {
	endpoint string
	conn     *grpc.ClientConn
	release  func() // gives the connection back; nil for Options.Address
}

func (p place) done() {
	if p.release != nil {
		p.release()
	}
}

// tenantOf says which tenant a request is about; "" when it names none.
func tenantOf(request any) string {
	if w, ok := request.(*residencyv1.WriteDriveRequest); ok {
		return w.GetHeader().GetTenantId()
	}
	if r, ok := request.(interface{ GetTenantId() string }); ok {
		return r.GetTenantId()
	}
	return ""
}

// sentElsewhere gives a refusal that names another endpoint, or nil.
func sentElsewhere(err error) *Error {
	var e *Error
	if errors.As(err, &e) && e.Code == codes.PermissionDenied && e.Reason == "USE_HOME_ENDPOINT" {
		return e
	}
	return nil
}

// ownFailure reports a code that gRPC gave a call by itself, without a gateway's word.
func ownFailure(err error, code codes.Code) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason == "" && e.Code == code
}

// unary makes a unary call where its tenant is at home as far as is known, and once
// more where it is sent to. It gives the endpoint that answered.
func (h *homes) unary(tenant string, call func(place) (reached bool, err error)) (endpoint string, err error) {
	at, _ := h.start(tenant)
	reached, err := call(at)
	at.done()
	h.learn(tenant, at, reached, err)
	refused := sentElsewhere(err)
	if refused == nil || !h.follow {
		return at.endpoint, err
	}
	to, err := h.next(at, refused)
	if err != nil {
		return at.endpoint, notFollowed(refused, err)
	}
	defer to.done()
	reached, err = call(to)
	if !reached && ownFailure(err, codes.Unavailable) {
		return at.endpoint, notFollowed(refused, err)
	}
	return to.endpoint, h.arrived(tenant, to, err)
}

// start gives where a call about a tenant begins, and whether that place has taken data of the
// tenant's drives before.
func (h *homes) start(tenant string) (at place, took bool) {
	known := h.home(tenant)
	at, err := h.place(known.endpoint)
	if err != nil { // it can be asked for again
		return place{}, false
	}
	return at, known.took
}

func (h *homes) place(endpoint string) (place, error) {
	if endpoint == "" || endpoint == h.own {
		return place{}, nil
	}
	conn, release, err := h.take(endpoint)
	if err != nil {
		return place{}, err
	}
	return place{endpoint: endpoint, conn: conn, release: release}, nil
}

// next gives where a refused call is to be made instead.
func (h *homes) next(from place, refused *Error) (place, error) {
	switch to := refused.Endpoint; {
	case to == "":
		return place{}, errors.New("it names no endpoint")
	case to == from.endpoint, to == h.own && from.endpoint == "":
		return place{}, errors.New("it is the endpoint that refused")
	default:
		return h.place(to)
	}
}

// learn forgets what a call has shown to be wrong about where its tenant is at home.
func (h *homes) learn(tenant string, at place, reached bool, err error) {
	if sentElsewhere(err) != nil || err != nil && !reached || ownFailure(err, codes.Unavailable) {
		h.forget(tenant, at.endpoint)
	}
}

// arrived takes note of how a call ended where it had been sent, and gives its error. One that
// is sent on from there goes no further: two gateways may be naming each other.
func (h *homes) arrived(tenant string, at place, err error) error {
	if again := sentElsewhere(err); again != nil {
		return notFollowed(again, fmt.Errorf("a call goes to one other endpoint only, and this one had been sent to %s already", name(at.endpoint)))
	}
	for _, code := range []codes.Code{codes.Unavailable, codes.DeadlineExceeded, codes.Canceled} {
		if ownFailure(err, code) { // nobody has said that the home is there
			return err
		}
	}
	h.remember(tenant, home{endpoint: at.endpoint})
	return err
}

func name(endpoint string) string {
	if endpoint == "" {
		return "the client's own address"
	}
	return endpoint
}

// notFollowed is a refusal with why the client has no answer from where it names.
func notFollowed(refused *Error, why error) error {
	e := *refused
	e.NotFollowed = why
	return &e
}
