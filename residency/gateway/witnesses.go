package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/domicile-project/domicile/residency"
	"github.com/domicile-project/domicile/residency/audit"
	"github.com/domicile-project/domicile/residency/audit/proof"
)

// witnessWait is how long a checkpoint waits for its witnesses. It then is published without those that have
// not answered.
const witnessWait = 500 * time.Millisecond

// Witness is asked to cosign the checkpoints of a log. Safe for concurrent use.
type Witness interface {
	// Name says who it is, for people.
	Name() string

	// Keys are its public keys, as far as they are known before it was asked.
	Keys() []string

	// Cosign shows it a checkpoint. The answer's keys need not be trusted: what it signed is checked under them.
	Cosign(ctx context.Context, req Cosigning) (Cosigned, error)
}

// witnesses are those of one cluster's log. Its leader asks them.
type witnesses struct {
	g      *Gateway
	region *Region
	list   []*asked
}

// asked is a witness of a log, and what this gateway knows of its part.
type asked struct {
	Witness
	kind   audit.WitnessKind
	keys   []string // which the log names
	known  uint64   // the size that it signed last, as far as it is known here
	failed bool     // it did not sign the last time
}

// witnessesOf lists who is asked about a region's logs: the other regions that are served here, which say
// that nobody else looks, the peers, and those outside.
func (g *Gateway) witnessesOf(r *Region) *witnesses {
	w := &witnesses{g: g, region: r}
	add := func(kind audit.WitnessKind, other Witness) {
		w.list = append(w.list, &asked{Witness: other, kind: kind, keys: other.Keys()})
	}
	for i := range g.cfg.Regions {
		if by := &g.cfg.Regions[i]; by != r && by.Cosigner != nil {
			add(audit.SelfWitness, ownWitness{g, by, r.Name})
		}
	}
	for i := range g.cfg.Elsewhere {
		add(audit.PeerWitness, peerWitness{&g.cfg.Elsewhere[i]})
	}
	for _, outside := range r.Witnesses {
		add(audit.OutsideWitness, outside)
	}
	return w
}

// ownWitness is another region that this process serves too.
type ownWitness struct {
	g  *Gateway
	by *Region
	of residency.Region
}

func (w ownWitness) Name() string { return "region " + string(w.by.Name) + ", served here too" }

func (w ownWitness) Keys() []string { return w.by.Cosigner.Self().Verifiers() }

func (w ownWitness) Cosign(ctx context.Context, req Cosigning) (Cosigned, error) {
	return w.g.cosign(ctx, w.by, w.by.Cosigner.Self(), w.of, nil, req)
}

// peerWitness is a region that other gateways serve.
type peerWitness struct{ e *Elsewhere }

func (w peerWitness) Name() string { return "region " + string(w.e.Name) }

func (peerWitness) Keys() []string { return nil } // it says

func (w peerWitness) Cosign(ctx context.Context, req Cosigning) (Cosigned, error) {
	return w.e.Peer.Cosign(ctx, w.e.Name, req)
}

// testimony is what the witnesses said about a checkpoint.
type testimony struct {
	checkpoint []byte // with the signatures of those who signed
	all        bool   // every witness signed
	learned    bool   // one of them signed with keys that the checkpoint does not name
}

// sign signs the tree, names the witnesses in what it signs and has them sign too. When one says by which keys it signs, they
// are named and it is asked again.
func (w *witnesses) sign(ctx context.Context, c *Cluster, s *logState) (t testimony, err error) {
	for range 2 {
		var lines []string
		for _, a := range w.list {
			for _, key := range a.keys {
				lines = append(lines, audit.NameWitness(a.kind, key))
			}
		}
		checkpoint, err := c.Signer.Checkpoint(s.Size, s.Head, lines...)
		if err != nil {
			return t, err
		}
		if t = w.ask(ctx, c, s, checkpoint); !t.learned {
			break
		}
	}
	return t, nil
}

// ask shows a checkpoint of the tree to all witnesses at once.
func (w *witnesses) ask(ctx context.Context, c *Cluster, s *logState, checkpoint []byte) testimony {
	ctx, cancel := context.WithTimeout(ctx, witnessWait)
	defer cancel()
	answers := make([]Cosigned, len(w.list))
	var wg sync.WaitGroup
	for i, a := range w.list {
		wg.Go(func() { answers[i] = w.show(ctx, a, c, s, checkpoint) })
	}
	wg.Wait()
	t := testimony{checkpoint: checkpoint, all: true}
	for i, answer := range answers {
		switch a := w.list[i]; {
		case answer.Lines == nil:
			t.all = false
		case !slices.Equal(a.keys, answer.Keys):
			a.keys, t.all, t.learned = answer.Keys, false, true
		default:
			t.checkpoint = append(bytes.Clone(t.checkpoint), answer.Lines...)
		}
	}
	return t
}

// show shows a checkpoint to one witness, once more when it says from where it needs a proof.
func (w *witnesses) show(ctx context.Context, a *asked, c *Cluster, s *logState, checkpoint []byte) Cosigned {
	answer, err := a.proven(ctx, c, s, checkpoint)
	switch {
	case answer.Contradiction:
		w.g.contradicted(w.region.Name, fmt.Errorf("witness %s: %w", a.Name(), err))
	case err != nil && !a.failed && !errors.Is(ctx.Err(), context.Canceled):
		w.g.log.Warn("a witness does not cosign the audit log", "region", string(w.region.Name), "cluster", c.Name, "witness", a.Name(), "err", err)
	case err == nil && a.failed:
		w.g.log.Info("a witness cosigns the audit log again", "region", string(w.region.Name), "cluster", c.Name, "witness", a.Name())
	}
	if a.failed = err != nil; a.failed {
		a.known = answer.Known // 0 = what it knows by then it will say
		return Cosigned{}
	}
	a.known = s.Size
	return answer
}

// proven asks, and gives the proof that is asked for.
func (a *asked) proven(ctx context.Context, c *Cluster, s *logState, checkpoint []byte) (Cosigned, error) {
	answer, err := a.try(ctx, c, s, checkpoint)
	if err == nil && answer.Known > 0 && answer.Known <= s.Size && answer.Known != a.known {
		a.known = answer.Known
		answer, err = a.try(ctx, c, s, checkpoint)
	}
	contradiction := false
	if err == nil && answer.Lines == nil {
		contradiction, err = a.weigh(ctx, c, s, answer)
	}
	answer.Contradiction = contradiction // only what was weighed
	return answer, err
}

// weigh says why a witness did not sign, and whether that shows that the log is not what it has signed before.
func (a *asked) weigh(ctx context.Context, c *Cluster, s *logState, answer Cosigned) (contradiction bool, why error) {
	switch log := c.Signer.Name(); {
	case answer.Known > s.Size:
		now, err := c.logNow(ctx)
		if err == nil && now.Size < answer.Known {
			return true, fmt.Errorf("it has seen %d entries of the log %s, which has %d: the log went back", answer.Known, log, now.Size)
		}
		return false, errors.Join(fmt.Errorf("it has seen %d entries of the log %s already, and was asked about %d", answer.Known, log, s.Size), err)
	case answer.Known == s.Size && a.known == s.Size: // so others say that the root is not the one that they know
		return true, fmt.Errorf("it has seen another root of the %d entries of the log %s: the log was forked", s.Size, log)
	case answer.Contradiction && answer.why != nil:
		return true, answer.why
	case answer.Contradiction:
		return true, fmt.Errorf("it says that the log %s was forked or went back", log)
	}
	return false, errors.New("it did not take the proof that it asked for")
}

// try asks once, and checks what was signed.
func (a *asked) try(ctx context.Context, c *Cluster, s *logState, checkpoint []byte) (Cosigned, error) {
	if a.known > s.Size { // no proof goes from there
		a.known = 0
	}
	req := Cosigning{Key: c.Signer.Verifier(), Old: a.known, Checkpoint: checkpoint}
	if a.known > 0 {
		var err error
		req.Proof, err = audit.ProveConsistency(s.Size, s.Head, a.known, func(level int, n uint64, width int) ([]byte, error) {
			return c.tile(ctx, s, level, n, width)
		})
		if err != nil {
			return Cosigned{}, err
		}
	}
	answer, err := a.Cosign(ctx, req)
	if err != nil || answer.Lines == nil {
		return answer, err
	}
	return answer, signedBy(c.Signer.Verifier(), answer, checkpoint)
}

// maxWitnessKeys is how many keys a witness has at once, while it replaces one.
const maxWitnessKeys = 4

// maxWitnessKey is the longest key, so that a checkpoint that names all witnesses can still be shown to each.
const maxWitnessKey = 512

// signedBy returns nil when the lines that a witness answered are its signature of the checkpoint.
func signedBy(log string, answer Cosigned, checkpoint []byte) error {
	key, err := proof.ParseKey(log)
	if err != nil {
		return err
	}
	if n := len(answer.Keys); n == 0 || n > maxWitnessKeys || bytes.Count(answer.Lines, []byte("\n")) != n {
		return errors.New("it answered as many signatures as it has no keys")
	}
	var all []proof.Witness
	for _, text := range answer.Keys {
		if len(text) > maxWitnessKey {
			return fmt.Errorf("its key has more than %d bytes", maxWitnessKey)
		}
		witness, err := proof.ParseWitness(text)
		if err != nil {
			return fmt.Errorf("its key: %w", err)
		}
		all = append(all, witness)
	}
	_, err = key.OpenCheckpoint(append(bytes.Clone(checkpoint), answer.Lines...), all...)
	return err
}
