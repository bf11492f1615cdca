package main

import (
	"bytes"
	"encoding/binary"
	"sort"
	"sync"
	"time"
)

const headSize = 16

var (
	pattern = makePattern()
	started = time.Now()
)

// makePattern is the fixed part of every message, as in messages.py.
func makePattern() []byte {
	p := make([]byte, 1<<20)
	for i := range p {
		p[i] = byte(i % 251)
	}
	return p
}

// makeMessage is a message of a size: its number, the time, and the pattern.
func makeMessage(number, size int) []byte {
	message := make([]byte, size)
	binary.LittleEndian.PutUint64(message, uint64(number))
	binary.LittleEndian.PutUint64(message[8:], uint64(time.Since(started)))
	copy(message[headSize:], pattern)
	return message
}

// tally counts what arrives, and looks at every byte of it.
type tally struct {
	mutex             sync.Mutex
	size              int
	ordered           bool
	seen              map[uint64]struct{}
	received, damaged int
	first, last       time.Time
}

func newTally(size int, ordered bool) *tally {
	return &tally{size: size, ordered: ordered, seen: map[uint64]struct{}{}}
}

func (t *tally) take(message []byte) {
	now := time.Now()
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.first.IsZero() {
		t.first = now
	}
	t.last = now
	if len(message) != t.size {
		t.damaged++
		return
	}
	number := binary.LittleEndian.Uint64(message)
	isDue := number == uint64(t.received)
	if !t.ordered {
		_, isSeen := t.seen[number]
		isDue = !isSeen
		t.seen[number] = struct{}{}
	}
	if !isDue || !bytes.Equal(message[headSize:], pattern[:t.size-headSize]) {
		t.damaged++
	}
	t.received++
}

// state is how much has arrived, and how long ago the last of it.
func (t *tally) state() (int, time.Duration) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.received, time.Since(t.last)
}

func (t *tally) result() answer {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return answer{"received": t.received, "damaged": t.damaged, "seconds": t.last.Sub(t.first).Seconds()}
}

func percentile(values []time.Duration, share int) float64 {
	sort.Slice(values, func(i, j int) bool { return values[i] < values[j] })
	return float64(values[min(len(values)-1, len(values)*share/100)].Nanoseconds()) / 1000
}
