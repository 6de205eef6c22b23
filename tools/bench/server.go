package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// server is a server under load, with the load generator that loads it. A
// program that needs no server is both.
type server struct {
	*process
	also  []*process // whose CPU time counts too: what it passes calls on to
	load  *process
	in    *json.Encoder
	out   *json.Decoder
	trips *atomic.Uint64 // counts its round trips to a database; nil = they are not counted
}

func (s *server) stop() {
	s.load.stop()
	if s.process != s.load {
		s.process.stop()
	}
}

// sample is what one round of a work cost a server.
type sample struct {
	report
	CPU      time.Duration // of the server
	Resident int64         // bytes, the most that was seen while it was measured
	Trips    uint64        // round trips to a database, where they are counted
}

// measure runs a command on a server.
func (s *server) measure(ctx context.Context, c command) (sample, error) {
	if err := s.in.Encode(c); err != nil {
		return sample{}, err
	}
	if _, err := s.answer(started); err != nil {
		return sample{}, err
	}
	before, err := s.used()
	if err != nil {
		return sample{}, err
	}
	watching, stop := context.WithCancel(ctx)
	most := make(chan int64)
	go func() { most <- s.watch(watching) }()
	r, err := s.answer(ended)
	stop()
	resident := <-most
	if err != nil {
		return sample{}, err
	}
	after, err := s.used()
	if err != nil {
		return sample{}, err
	}
	_, err = s.answer(idle)
	return sample{report: r, CPU: after.CPU - before.CPU, Resident: resident, Trips: after.Trips - before.Trips}, err
}

// used reads what the server has used so far.
func (s *server) used() (u sample, err error) {
	if s.trips != nil {
		u.Trips = s.trips.Load()
	}
	for _, p := range append([]*process{s.process}, s.also...) {
		used, err := p.cpu()
		if err != nil {
			return u, err
		}
		u.CPU += used
	}
	return u, nil
}

// watch gives the most memory that the server occupied until the context ended.
func (s *server) watch(ctx context.Context) int64 {
	var most int64
	for ctx.Err() == nil {
		if now, err := s.resident(); err == nil {
			most = max(most, now)
		}
		wait(ctx, 50*time.Millisecond)
	}
	return most
}

func (s *server) answer(want phase) (report, error) {
	var r report
	if err := s.out.Decode(&r); err != nil {
		return r, fmt.Errorf("the load generator ended: %w", err)
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	if r.Phase != want {
		return r, fmt.Errorf("the load generator said %q, want %q", r.Phase, want)
	}
	return r, nil
}
