package rpc

import (
	"context"

	"google.golang.org/grpc/metadata"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/gateway"
	"github.com/domicile-project/domicile/server/config"
	"github.com/domicile-project/domicile/server/forward"
)

// arrival is who is behind a call, and by which way it came.
type arrival struct {
	id      string               // whom it is accounted to, and what the log names
	who     *caller              // nil = nobody who is known
	peer    *config.PeerIdentity // the gateway that forwarded it; nil = it came directly
	refused residency.Kind       // OK, or why it goes no further
}

// arrival finds out who is behind a call: whom its connection's certificate names or, when that is a
// peer, the caller that the peer attests. What anybody else attests counts for nothing.
func (g *gate) arrival(ctx context.Context) arrival {
	id := identityOf(ctx, g.now())
	p := g.peers[id]
	if p == nil {
		return known(arrival{id: id, who: g.callers.find(id)})
	}
	switch attested := metadata.ValueFromIncomingContext(ctx, forward.CallerKey); {
	case len(attested) == 0:
		return arrival{id: id, who: p.self}
	case len(attested) > 1 || attested[0] == "":
		return arrival{id: id, refused: residency.CallerNotPermitted}
	case !p.Attests(attested[0]): // whoever it is proves it here, or not at all
		return arrival{id: id, refused: residency.UseHomeEndpoint}
	default:
		return known(arrival{id: attested[0], who: g.callers.find(attested[0]), peer: p.PeerIdentity})
	}
}

func known(a arrival) arrival {
	if a.who == nil {
		a.refused = residency.NoIdentity
	}
	return a
}

// self reports whether it is a peer that calls for itself.
func (a arrival) self() bool {
	return a.peer == nil && a.who != nil && a.who.Permissions.Has(config.ForwardPermission)
}

// note notes in a call who makes it and by which way it came. Of nobody who is known
// the identity is noted all the same, for the log: its certificate is of our authority.
func (a arrival) note(call *gateway.Call) {
	call.Caller.ID = a.id
	if a.who != nil {
		call.Caller = a.who.known
	}
	if a.peer != nil {
		call.Peer, call.Via = a.peer.Identity, a.peer.Jurisdictions
	}
}

// knownPeer is a peer's entry with what its own calls need.
type knownPeer struct {
	*config.PeerIdentity
	self *caller
}

// newPeers makes the table of peers. As itself a peer may do what gateways ask of one another, and nothing else.
func newPeers(identities map[string]*config.PeerIdentity) map[string]*knownPeer {
	out := make(map[string]*knownPeer, len(identities))
	for id, p := range identities {
		entry := &config.Identity{ID: id, Permissions: config.Permissions(0).With(config.ForwardPermission)}
		if len(p.Jurisdictions) > 0 {
			entry.Jurisdiction = p.Jurisdictions[0]
		}
		entry.Party = residency.ProviderParty
		out[id] = &knownPeer{p, newCaller(entry)}
	}
	return out
}
