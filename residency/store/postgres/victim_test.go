package postgres

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// victimEnv holds the location of a cluster in whose transaction this process,
// started again by a test, waits to be killed.
const victimEnv = "DOMICILE_TEST_VICTIM"

// victim takes tenant 1 exclusively, writes, says so and waits.
func victim() int {
	c, err := OpenCluster(context.Background(), os.Getenv(victimEnv), Options{})
	if err == nil {
		err = c.Update(context.Background(), store.Scope{Tenant: store.Tenant{1, 15: 1}, Exclusive: true}, func(tx store.Tx) error {
			if err := tx.Put(store.KindRecord, "victim", nil); err != nil {
				return err
			}
			fmt.Println("inside")
			time.Sleep(time.Minute)
			return nil
		})
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}
