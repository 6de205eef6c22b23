package dir

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
)

// maxDurable is how many folders are remembered as durable. Forgetting one only
// costs making it durable again.
const maxDurable = 1 << 16

// folders makes folders and their contents durable. Whoever asks while a
// folder's fsync is under way shares the next one.
type folders struct {
	root string // what is above it is not ours

	mu      sync.Mutex
	syncing map[string]*syncing

	making  sync.Mutex          // held while folders are made
	durable map[string]struct{} // folders whose own names are durable, from the root down; guarded by mu
}

// syncing is a folder that is being synced, and who waits for the next time.
type syncing struct {
	next *round // nil when nobody waits
}

// round is one fsync that several callers share.
type round struct {
	done chan struct{}
	err  error
}

// sync returns when everything that was in the folder before it was called is durable.
func (f *folders) sync(folder string) error {
	f.mu.Lock()
	if f.syncing == nil {
		f.syncing = make(map[string]*syncing)
	}
	s := f.syncing[folder]
	if s == nil {
		s = &syncing{}
		f.syncing[folder] = s
		f.mu.Unlock()
		err := syncFolder(folder)
		f.pass(folder, s)
		return err
	}
	r := s.next
	if r == nil {
		r = &round{done: make(chan struct{})}
		s.next = r
	}
	f.mu.Unlock()
	<-r.done
	return r.err
}

// pass starts the round that waits for a folder, if there is one.
func (f *folders) pass(folder string, s *syncing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := s.next
	if r == nil {
		delete(f.syncing, folder)
		return
	}
	s.next = nil
	go func() {
		r.err = syncFolder(folder)
		close(r.done)
		f.pass(folder, s)
	}()
}

// makeRoot makes the root folder and those above it that are missing, durably.
func makeRoot(root string) error {
	err := os.Mkdir(root, 0o700)
	if errors.Is(err, os.ErrNotExist) {
		if err := makeRoot(filepath.Dir(root)); err != nil {
			return err
		}
		err = os.Mkdir(root, 0o700)
	}
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncFolder(filepath.Dir(root))
}

// make makes a folder and those above it up to the root, and returns when their names are
// durable, whoever made them. Folders that were there when the process began are
// not trusted to be durable: another process may have died between making one and syncing it.
func (f *folders) make(folder string) error {
	f.mu.Lock()
	_, ok := f.durable[folder]
	f.mu.Unlock()
	if ok {
		return nil
	}
	f.making.Lock()
	defer f.making.Unlock()
	return f.makeAll(folder)
}

func (f *folders) makeAll(folder string) error {
	f.mu.Lock()
	_, ok := f.durable[folder]
	f.mu.Unlock()
	if ok || folder == f.root {
		return nil
	}
	parent := filepath.Dir(folder)
	if err := f.makeAll(parent); err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := syncFolder(parent); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.durable == nil || len(f.durable) >= maxDurable {
		f.durable = make(map[string]struct{})
	}
	f.durable[folder] = struct{}{}
	return nil
}

// syncFolder makes the names in a folder durable.
func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
