package forward

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the ordinary codec, for the peers' own calls
	"google.golang.org/grpc/mem"
)

// frame is a message as it is on the wire.
type frame struct{ wire mem.BufferSlice }

// codec is the ordinary protobuf codec, but for frames, which pass as they are.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

// Marshal writes a message. A frame is used up by it.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(*frame); ok {
		return f.wire, nil
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal reads a message. A frame keeps the transport's buffers, for its owner to free.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if f, ok := v.(*frame); ok {
		data.Ref()
		f.wire = data
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}
