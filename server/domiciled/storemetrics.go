package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// storeMetrics tell how long the operations of stores take, and which fail. Engines of a region are one to them.
type storeMetrics struct {
	seconds *prometheus.HistogramVec
	errors  *prometheus.CounterVec
}

// newStoreMetrics makes the metrics and registers them.
func newStoreMetrics(reg prometheus.Registerer) *storeMetrics {
	labels := []string{"region", "store", "operation"}
	m := &storeMetrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "residency_store_seconds",
			Help:                            "How long a storage operation took, in seconds.",
			Buckets:                         []float64{.001, .01, .1, 1}, // coarse, since each is a series per operation: the native ones are fine
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, labels),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "residency_store_errors_total",
			Help: "Storage operations that failed for the store's sake: neither for what is there or not, nor for a caller that left or was in haste.",
		}, labels),
	}
	reg.MustRegister(m.seconds, m.errors)
	return m
}

// took gives what observes how long a store's operations take. Their series are looked up
// once: an update belongs to every call.
func (m *storeMetrics) took(region, store string, operations ...string) func(string, time.Duration) {
	series := make(map[string]prometheus.Observer, len(operations))
	for _, o := range operations {
		series[o] = m.seconds.WithLabelValues(region, store, o)
	}
	return func(operation string, took time.Duration) {
		if o := series[operation]; o != nil {
			o.Observe(took.Seconds())
			return
		}
		m.seconds.WithLabelValues(region, store, operation).Observe(took.Seconds())
	}
}

// fails gives what counts a store's operations that fail.
func (m *storeMetrics) fails(region, store string, operations ...string) func(string) {
	for _, o := range operations {
		m.errors.WithLabelValues(region, store, o)
	}
	return func(operation string) { m.errors.WithLabelValues(region, store, operation).Inc() }
}

// told gives what is told of a store's operations.
func (m *storeMetrics) told(region, store string, operations ...string) told {
	took, fail := m.took(region, store, operations...), m.fails(region, store, operations...)
	return func(operation string, d time.Duration, failed bool) {
		took(operation, d)
		if failed {
			fail(operation)
		}
	}
}
