package store

import "context"

// Agenda is all of a cluster's tasks, for whoever checks the cluster. Every Rows implements it. Safe for concurrent use.
type Agenda interface {
	// Tasks calls yield with the tasks on the agenda, due or not, by time, tenant, kind and ID in
	// ascending order, until it returns false. A task that was there before the call and is there after it is
	// given; one that comes or goes meanwhile may be given or not. It takes no lock.
	Tasks(ctx context.Context, yield func(Task) bool) error
}
