//go:build race

package seal_test

// raceEnabled: the race detector drops pooled memory at random, so allocations are not counted.
const raceEnabled = true
