package rpc

import (
	"encoding/binary"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the ordinary codec, which this one wraps
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
)

// maxDriveData is the most bytes of one drive message, as the protos state it.
const maxDriveData = 256 << 10

// codec is the ordinary protobuf codec, but for drive data: it writes what
// is encoded already and reads a driveFrame without building a message in between. What it
// reads and writes on the wire is the same.
type codec struct {
	ordinary encoding.CodecV2
	pool     mem.BufferPool
}

var _ encoding.CodecV2 = (*codec)(nil)

func newCodec() *codec {
	return &codec{
		ordinary: encoding.GetCodecV2("proto"),
		pool:     mem.NewTieredBufferPool(4<<10, 64<<10+chunkOverhead, maxDriveData+chunkOverhead),
	}
}

// Name is that of the codec it stands in for.
func (c *codec) Name() string { return "proto" }

// encoded is a message in the form that it has on the wire.
type encoded struct{ wire mem.BufferSlice }

// chunkOverhead is the most that a tag and a length take.
const chunkOverhead = 1 + binary.MaxVarintLen32

// chunkTag is the tag of ReadDriveResponse.data and its wire type.
const chunkTag = 1<<3 | byte(protowire.BytesType)

// encode encodes a message into a buffer of a pool; what it points to is the caller's again
// when it returns.
func encode(m proto.Message, pool mem.BufferPool) (*encoded, error) {
	size := proto.Size(m)
	if size == 0 {
		return &encoded{}, nil
	}
	buf := pool.Get(size)
	b, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend((*buf)[:0], m)
	if err != nil {
		pool.Put(buf)
		return nil, err
	}
	*buf = b
	return &encoded{mem.BufferSlice{mem.NewBuffer(buf, pool)}}, nil
}

// chunk encodes a ReadDriveResponse of data into a buffer of a pool. That is the
// only copy on its way to the transport; data is the caller's again when it returns.
func chunk(data []byte, pool mem.BufferPool) *encoded {
	if len(data) == 0 {
		return &encoded{}
	}
	buf := pool.Get(len(data) + chunkOverhead)
	b := append((*buf)[:0], chunkTag)
	b = binary.AppendUvarint(b, uint64(len(data)))
	*buf = append(b, data...)
	return &encoded{mem.BufferSlice{mem.NewBuffer(buf, pool)}}
}

// Marshal writes a message. One that is encoded is used up by it.
func (c *codec) Marshal(v any) (mem.BufferSlice, error) {
	if message, ok := v.(*encoded); ok {
		return message.wire, nil
	}
	return c.ordinary.Marshal(v)
}

// driveFrame is a WriteDriveRequest. Its data lies in the transport's own
// buffers; release gives them back.
type driveFrame struct {
	message residencyv1.WriteDriveRequest // when plain is not set
	plain   bool                          // the message holds data and nothing else
	length  int                           // bytes of that data
	wire    mem.BufferSlice
	skip    int // bytes of wire before the data
}

// Unmarshal reads a message. It does not keep data but for a driveFrame.
func (c *codec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*driveFrame)
	if !ok {
		return c.ordinary.Unmarshal(data, v)
	}
	f.release()
	if skip, length, ok := plainData(data); ok {
		data.Ref()
		f.plain, f.wire, f.skip, f.length = true, data, skip, length
		return nil
	}
	f.plain = false
	return c.ordinary.Unmarshal(data, &f.message)
}

// plainData reports whether the wire bytes are a WriteDriveRequest of exactly
// one field, data, in its shortest form, and where that begins.
func plainData(wire mem.BufferSlice) (skip, length int, ok bool) {
	if len(wire) == 0 {
		return 0, 0, false
	}
	var head [chunkOverhead]byte
	n := 0
	for _, buf := range wire {
		if n += copy(head[n:], buf.ReadOnlyData()); n == len(head) {
			break
		}
	}
	const tag = 2<<3 | byte(protowire.BytesType)
	if n < 2 || head[0] != tag {
		return 0, 0, false
	}
	size, m := binary.Uvarint(head[1:n])
	if m <= 0 || m > 1 && head[m] == 0 || size > maxMessage || 1+m+int(size) != wire.Len() {
		return 0, 0, false
	}
	return 1 + m, int(size), true
}

// maxMessage is above every message size that can be configured.
const maxMessage = 16 << 20

// header gives the message's header, or nil.
func (f *driveFrame) header() *residencyv1.WriteDriveHeader {
	if f.plain {
		return nil
	}
	return f.message.GetHeader()
}

// next gives the next piece of the data, good until the frame is released, and nil
// after the last.
func (f *driveFrame) next() []byte {
	if !f.plain {
		data := f.message.GetData()
		f.message.Content = nil
		return data
	}
	for len(f.wire) > 0 {
		buf := f.wire[0].ReadOnlyData()
		if f.skip >= len(buf) {
			f.skip -= len(buf)
			f.drop()
			continue
		}
		out := buf[f.skip:]
		f.skip = len(buf) // dropped by the next call
		return out
	}
	return nil
}

// whole gives the message as it is on the wire, the caller's to free.
func (f *driveFrame) whole(c *codec) (mem.BufferSlice, error) {
	if !f.plain {
		return c.ordinary.Marshal(&f.message)
	}
	wire := f.wire
	wire.Ref()
	return wire, nil
}

func (f *driveFrame) drop() {
	f.wire[0].Free()
	f.wire = f.wire[1:]
}

// release gives the buffers back and empties the frame.
func (f *driveFrame) release() {
	for len(f.wire) > 0 {
		f.drop()
	}
	f.wire, f.plain, f.skip, f.length = nil, false, 0, 0
	proto.Reset(&f.message)
}
