package s3

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"time"

	"github.com/domicile-project/domicile/residency/store"
)

const (
	// partSize is how many bytes are sent at once: the least that S3 allows. An object of at
	// most so many, as every chunk of a drive is, is one request; a longer one is sent in parts.
	partSize = 5 << 20

	blockSize = 256 << 10 // a part grows by so many bytes; divides partSize

	memoryWait = 30 * time.Second // how long a writer waits for memory that others hold
)

// castagnoli is the polynomial of CRC-32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type block [blockSize]byte

// memory bounds what all objects that are being written hold together. A part has
// its full size set aside for it before its first byte, so that whoever has
// begun one can go on until it is sent, and waits for nobody.
type memory struct {
	parts chan struct{} // one for each part
	pool  sync.Pool
}

func newMemory(most int64) *memory {
	if most == 0 {
		most = defaultMemory
	}
	return &memory{parts: make(chan struct{}, most/partSize), pool: sync.Pool{New: func() any { return new(block) }}}
}

// reserve sets memory for a part aside, waiting for others to give theirs back.
func (m *memory) reserve(ctx context.Context) error {
	select {
	case m.parts <- struct{}{}:
		return nil
	default:
	}
	late := time.NewTimer(memoryWait)
	defer late.Stop()
	select {
	case m.parts <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
	case <-late.C:
		return fmt.Errorf("%w: s3: too many objects are being written at once", store.ErrUnavailable)
	}
}

// part is bytes that are sent together. It is not safe for concurrent use.
type part struct {
	memory *memory
	blocks []*block
	size   int
	sum    uint32 // CRC-32C
}

// fill appends as many bytes as there is room for.
func (p *part) fill(ctx context.Context, b []byte) (int, error) {
	if len(p.blocks) == 0 {
		if err := p.memory.reserve(ctx); err != nil {
			return 0, err
		}
	}
	b = b[:min(len(b), partSize-p.size)]
	p.sum = crc32.Update(p.sum, castagnoli, b)
	for left := b; len(left) > 0; {
		if p.size == len(p.blocks)*blockSize {
			p.blocks = append(p.blocks, p.memory.pool.Get().(*block))
		}
		n := copy(p.blocks[p.size/blockSize][p.size%blockSize:], left)
		p.size += n
		left = left[n:]
	}
	return len(b), nil
}

// drop gives the memory back.
func (p *part) drop() {
	if len(p.blocks) == 0 {
		return
	}
	for _, b := range p.blocks {
		p.memory.pool.Put(b)
	}
	p.blocks, p.size, p.sum = nil, 0, 0
	<-p.memory.parts
}

// body reads a part for one request. The HTTP client may still be reading when
// its request has failed already; after detach it reads nothing any more, and
// the part's memory can be used for other things.
type body struct {
	mu   sync.Mutex
	part *part // nil: detached
	at   int
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.part == nil:
		return 0, io.ErrClosedPipe
	case b.at == b.part.size:
		return 0, io.EOF
	}
	from := b.part.blocks[b.at/blockSize][b.at%blockSize:]
	n := copy(p, from[:min(len(from), b.part.size-b.at)])
	b.at += n
	return n, nil
}

func (b *body) detach() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.part = nil
}
