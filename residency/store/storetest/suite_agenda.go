package storetest

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

// RunAgenda holds store.Agenda against a backend. open gives an empty store; its Rows must implement it.
func RunAgenda(t *testing.T, open func(*testing.T) store.Rows) {
	for name, test := range map[string]func(*testing.T, store.Rows, store.Agenda){
		"every task in order": agendaInOrder, "until yield returns false": agendaStops, "many": agendaMany,
	} {
		t.Run(name, func(t *testing.T) {
			rows := open(t)
			agenda, ok := rows.(store.Agenda)
			if !ok {
				t.Fatal("the rows list no tasks")
			}
			test(t, rows, agenda)
		})
	}
}

// plan schedules tasks, each in a transaction of its tenant.
func plan(t *testing.T, rows store.Rows, tasks ...store.Task) {
	t.Helper()
	for _, task := range tasks {
		must(t, rows.Update(contextFor(t), store.Scope{Tenant: task.Tenant}, func(tx store.Tx) error { return tx.Schedule(task) }))
	}
}

// listed gives the agenda, up to a number of tasks.
func listed(t *testing.T, agenda store.Agenda, limit int) (out []store.Task) {
	t.Helper()
	must(t, agenda.Tasks(contextFor(t), func(task store.Task) bool {
		out = append(out, task)
		return len(out) < limit
	}))
	return out
}

func sameTasks(a, b store.Task) bool {
	return a.At.Equal(b.At) && a.Tenant == b.Tenant && a.Kind == b.Kind && a.ID == b.ID && bytes.Equal(a.Value, b.Value)
}

// inOrder gives tasks as an agenda has them: by time, tenant, kind and ID, the latter byte by byte.
func inOrder(now time.Time) []store.Task {
	at := func(d time.Duration, n byte, kind store.TaskKind, id store.ID, value string) store.Task {
		return store.Task{At: now.Add(d).Round(0).UTC(), Tenant: tenant(n), Kind: kind, ID: id, Value: []byte(value)}
	}
	return []store.Task{
		at(-time.Hour, 2, store.TaskDeleteBlob, "b", "long due"),
		at(time.Hour, 1, store.TaskCloseStream, "z", ""),
		at(time.Hour, 1, store.TaskDeleteBlob, "", "no id"),
		at(time.Hour, 1, store.TaskDeleteBlob, "A", ""),
		at(time.Hour, 1, store.TaskDeleteBlob, "a", "\x00\xff"),
		at(time.Hour, 1, store.TaskDeleteBlob, "a\x00", ""),
		at(time.Hour, 1, store.TaskDeleteBlob, "\xff", ""),
		at(time.Hour, 2, store.TaskCloseStream, "a", ""),
		at(time.Hour+1, 1, store.TaskCloseStream, "a", "a nanosecond later"),
		at(50*365*24*time.Hour, 1, store.TaskForgetRequest, "a", "far ahead"),
	}
}

func agendaInOrder(t *testing.T, rows store.Rows, agenda store.Agenda) {
	if got := listed(t, agenda, 1); len(got) != 0 {
		t.Fatalf("an empty store has %d tasks", len(got))
	}
	want := inOrder(rows.Now())
	shuffled := slices.Clone(want)
	slices.Reverse(shuffled)
	plan(t, rows, shuffled...)
	got := listed(t, agenda, 100)
	if !slices.EqualFunc(got, want, sameTasks) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	gone := want[3]
	must(t, rows.Update(contextFor(t), store.Scope{Tenant: gone.Tenant}, func(tx store.Tx) error { return tx.Unschedule(gone) }))
	if got := listed(t, agenda, 100); !slices.EqualFunc(got, slices.Delete(want, 3, 4), sameTasks) {
		t.Fatalf("after one was taken off: %+v", got)
	}
}

func agendaStops(t *testing.T, rows store.Rows, agenda store.Agenda) {
	want := inOrder(rows.Now())
	plan(t, rows, want...)
	if got := listed(t, agenda, 3); !slices.EqualFunc(got, want[:3], sameTasks) {
		t.Fatalf("got %+v", got)
	}
}

// agendaMany has more tasks than a backend gets at once.
func agendaMany(t *testing.T, rows store.Rows, agenda store.Agenda) {
	const n = 2500
	at := rows.Now().Add(time.Hour).Round(0).UTC()
	tasks := make([]store.Task, n)
	for i := range tasks {
		tasks[i] = store.Task{At: at, Tenant: tenant(1), Kind: store.TaskExpireRecord, ID: store.ID([]byte{byte(i >> 8), byte(i)})}
	}
	must(t, rows.Update(contextFor(t), store.Scope{Tenant: tenant(1)}, func(tx store.Tx) error {
		for _, task := range tasks {
			if err := tx.Schedule(task); err != nil {
				return err
			}
		}
		return nil
	}))
	if got := listed(t, agenda, n+1); !slices.EqualFunc(got, tasks, sameTasks) {
		t.Fatalf("got %d tasks, want %d in order", len(got), n)
	}
}
