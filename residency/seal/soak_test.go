package seal_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/domicile-project/domicile/residency/seal"
	"github.com/domicile-project/domicile/residency/store"
)

// rounds is how many rounds of a heavy test are run: a sample, or all of them when DOMICILE_SOAK is 1.
func rounds(t *testing.T, sample, full int) int {
	n := sample
	if os.Getenv("DOMICILE_SOAK") == "1" {
		n = full
	}
	t.Logf("%d of %d rounds", n, full)
	return n
}

// TestDestroyRacesLoads: however loads and a destruction meet, whoever asks after
// the destruction answered gets nothing, in this process at once.
func TestDestroyRacesLoads(t *testing.T) {
	ring, keys := newRing(t), newMemoryKeys()
	v := seal.NewVault("ch", ring, keys, seal.Options{MaxKeys: 2})
	tk := tenantKeys(t, v, tenantA)
	for round := range rounds(t, 500, 100_000) {
		must(v.CreateSubject(ctx, tk, subject1))(t)
		var wg sync.WaitGroup
		for range 3 {
			crowd := rand.IntN(2) == 0
			wg.Go(func() {
				for range 4 {
					if _, err := v.Subject(ctx, tk, subject1); err != nil && !errors.Is(err, store.ErrNotFound) {
						t.Error(err)
					}
					if crowd { // makes room, so that the next is a load
						_, _ = v.CreateSubject(ctx, tk, subject2)
						_, _ = v.CreateDrive(ctx, tk, drive1)
					}
				}
			})
		}
		if err := v.DestroySubject(ctx, tenantA, subject1); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Subject(ctx, tk, subject1); !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("round %d: destroyed, then given: %v", round, err)
		}
		wg.Wait()
		if _, err := v.Subject(ctx, tk, subject1); !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("round %d: destroyed, then given once the loads were over: %v", round, err)
		}
	}
}
