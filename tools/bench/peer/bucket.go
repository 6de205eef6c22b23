package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"

	residencyv1 "github.com/domicile-project/domicile/proto/gen/residency/v1"
	"github.com/domicile-project/domicile/tools/bench/bare"
)

const (
	objectBytes   = 4 << 20 // of one object
	objectsAtOnce = 4       // that a stream writes
)

// bucket is the drives' service as one would write it without a gateway: a drive
// is objects of 4 MiB, read in order and written a few at a time under new names.
type bucket struct {
	residencyv1.UnimplementedDriveServiceServer
	objects *bare.Bucket
	writes  atomic.Uint64

	mu     sync.Mutex
	drives map[string]string // the prefix of a drive's objects, by drive
}

func (b *bucket) ReadDrive(r *residencyv1.ReadDriveRequest, stream grpc.ServerStreamingServer[residencyv1.ReadDriveResponse]) error {
	b.mu.Lock()
	prefix := b.drives[r.GetDriveId()]
	b.mu.Unlock()
	data := make([]byte, messageBytes)
	for i := range int(r.GetLength() / objectBytes) {
		object, err := b.objects.Open(stream.Context(), objectName(prefix, i))
		if err != nil {
			return err
		}
		for err == nil {
			var n int
			if n, err = io.ReadFull(object, data); n > 0 {
				if err := stream.Send(&residencyv1.ReadDriveResponse{Data: data[:n]}); err != nil {
					object.Close()
					return err
				}
			}
		}
		object.Close()
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
	}
	return nil
}

func (b *bucket) WriteDrive(stream grpc.ClientStreamingServer[residencyv1.WriteDriveRequest, residencyv1.WriteDriveResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	prefix := fmt.Sprintf("service/%d", b.writes.Add(1))
	n, err := b.receive(stream, prefix)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.drives[first.GetHeader().GetDriveId()] = prefix
	b.mu.Unlock()
	return stream.SendAndClose(&residencyv1.WriteDriveResponse{BytesWritten: n, Version: 1})
}

// receive puts what comes into objects.
func (b *bucket) receive(stream grpc.ClientStreamingServer[residencyv1.WriteDriveRequest, residencyv1.WriteDriveResponse], prefix string) (n int64, err error) {
	var group sync.WaitGroup
	defer group.Wait()
	slots := make(chan error, objectsAtOnce) // holds what the last puts came to
	for range objectsAtOnce {
		slots <- nil
	}
	var object []byte
	put := func(i int) error {
		if err := <-slots; err != nil {
			return err
		}
		data := object
		object = nil
		group.Go(func() { slots <- b.objects.Put(stream.Context(), objectName(prefix, i), data) })
		return nil
	}
	count := 0
	for {
		m, err := stream.Recv()
		if err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		if object == nil {
			object = make([]byte, 0, objectBytes)
		}
		object = append(object, m.GetData()...)
		n += int64(len(m.GetData()))
		if len(object) >= objectBytes || err != nil && len(object) > 0 {
			if err := put(count); err != nil {
				return n, err
			}
			count++
		}
		if err != nil {
			break
		}
	}
	for range objectsAtOnce {
		err = errors.Join(err, <-slots)
	}
	return n, err
}

func objectName(prefix string, i int) string { return fmt.Sprintf("%s/%06d", prefix, i) }
