package rpc

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// pieces cuts bytes into buffers as a transport would.
func pieces(b []byte, size int) mem.BufferSlice {
	var out mem.BufferSlice
	for len(b) > 0 {
		n := min(size, len(b))
		out = append(out, mem.SliceBuffer(b[:n:n]))
		b = b[n:]
	}
	return out
}

// data reads all of a frame's data.
func (f *driveFrame) all() []byte {
	var out []byte
	for p := f.next(); p != nil; p = f.next() {
		out = append(out, p...)
	}
	return out
}

func TestChunkIsAReadDriveResponse(t *testing.T) {
	c := newCodec()
	for _, n := range []int{0, 1, 127, 128, 4096, 65536, maxDriveData} {
		data := bytes.Repeat([]byte{0xA5}, n)
		wire, err := c.Marshal(chunk(data, c.pool))
		if err != nil {
			t.Fatal(err)
		}
		want, err := proto.Marshal(&residencyv1.ReadDriveResponse{Data: data})
		if err != nil {
			t.Fatal(err)
		}
		if got := wire.Materialize(); !bytes.Equal(got, want) {
			t.Errorf("%d bytes: the chunk differs from the ordinary message", n)
		}
		wire.Free()
	}
}

func TestFrameReadsAsTheOrdinaryCodec(t *testing.T) {
	c := newCodec()
	data := bytes.Repeat([]byte("domicile"), maxDriveData/8)
	plain, err := proto.Marshal(&residencyv1.WriteDriveRequest{Content: &residencyv1.WriteDriveRequest_Data{Data: data}})
	if err != nil {
		t.Fatal(err)
	}
	header, err := proto.Marshal(&residencyv1.WriteDriveRequest{Content: &residencyv1.WriteDriveRequest_Header{Header: &residencyv1.WriteDriveHeader{TenantId: "acme"}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		wire  []byte
		plain bool
	}{
		"data":            {plain, true},
		"header":          {header, false},
		"both":            {append(bytes.Clone(header), plain...), false},
		"data, unknown":   {protowire.AppendVarint(protowire.AppendTag(bytes.Clone(plain), 99, protowire.VarintType), 7), false},
		"long length":     {append([]byte{0x12, 0x83, 0x00}, "abc"...), false},
		"empty data":      {[]byte{0x12, 0x00}, true},
		"empty":           {nil, false},
		"length too long": {[]byte{0x12, 0x7f, 1}, false},
	} {
		for _, size := range []int{1, 7, 16 << 10, 1 << 20} {
			agree(t, c, name, tt.wire, size)
		}
		var f driveFrame
		if err := c.Unmarshal(pieces(tt.wire, 16<<10), &f); err == nil && f.plain != tt.plain {
			t.Errorf("%s: plain is %v", name, f.plain)
		}
		f.release()
	}
}

// agree reads wire bytes both ways and compares.
func agree(t *testing.T, c *codec, name string, wire []byte, size int) {
	t.Helper()
	var want residencyv1.WriteDriveRequest
	wantErr := proto.Unmarshal(wire, &want)
	var f driveFrame
	defer f.release()
	gotErr := c.Unmarshal(pieces(wire, size), &f)
	if (gotErr == nil) != (wantErr == nil) {
		t.Fatalf("%s in pieces of %d: got %v, the ordinary codec %v", name, size, gotErr, wantErr)
	}
	if gotErr != nil {
		return
	}
	if !proto.Equal(f.header(), want.GetHeader()) {
		t.Errorf("%s: the headers differ", name)
	}
	if f.plain && f.length != len(want.GetData()) {
		t.Errorf("%s: length %d, want %d", name, f.length, len(want.GetData()))
	}
	if _, isData := want.GetContent().(*residencyv1.WriteDriveRequest_Data); isData {
		if got := f.all(); !bytes.Equal(got, want.GetData()) {
			t.Errorf("%s in pieces of %d: %d bytes of data, want %d", name, size, len(got), len(want.GetData()))
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{0x12, 0x03, 1, 2, 3}, 2)
	f.Add([]byte{0x12, 0x83, 0x00, 1, 2, 3}, 1)
	f.Add([]byte{0x0a, 0x02, 0x0a, 0x00, 0x12, 0x00}, 3)
	f.Add([]byte{}, 1)
	c := newCodec()
	f.Fuzz(func(t *testing.T, wire []byte, size int) {
		agree(t, c, "fuzz", wire, 1+int(uint(size)%64))
	})
}

// Frames that the transport's pooled buffers carry give each back exactly once.
func TestFrameGivesItsBuffersBack(t *testing.T) {
	c := newCodec()
	pool := &countingPool{}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		body := make([]byte, 4096+rng.IntN(200_000))
		wire := protowire.AppendBytes([]byte{0x12}, body)
		var slices mem.BufferSlice
		for len(wire) > 0 {
			n := min(len(wire), 16<<10)
			slices = append(slices, mem.Copy(wire[:n], pool))
			wire = wire[n:]
		}
		var f driveFrame
		if err := c.Unmarshal(slices, &f); err != nil {
			t.Fatal(err)
		}
		slices.Free() // as grpc does after Unmarshal
		for range rng.IntN(4) {
			f.next()
		}
		f.release()
		f.release()
	}
	if pool.out != 0 {
		t.Errorf("%d buffers are still out", pool.out)
	}
}

type countingPool struct{ out int }

func (p *countingPool) Get(n int) *[]byte { p.out++; b := make([]byte, n); return &b }
func (p *countingPool) Put(*[]byte)       { p.out-- }

func BenchmarkChunk(b *testing.B) {
	c := newCodec()
	data := make([]byte, maxDriveData)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		wire, err := c.Marshal(chunk(data, c.pool))
		if err != nil {
			b.Fatal(err)
		}
		wire.Free()
	}
}

func BenchmarkFrame(b *testing.B) {
	c := newCodec()
	wire := pieces(protowire.AppendBytes([]byte{0x12}, make([]byte, maxDriveData)), 16<<10)
	b.SetBytes(maxDriveData)
	b.Run("frame", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var f driveFrame
			if err := c.Unmarshal(wire, &f); err != nil {
				b.Fatal(err)
			}
			for f.next() != nil {
			}
			f.release()
		}
	})
	b.Run("ordinary", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var m residencyv1.WriteDriveRequest
			if err := c.ordinary.Unmarshal(wire, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
}
