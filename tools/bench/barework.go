package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
)

// What the programs do that use a database or a bucket without a gateway.

const (
	objectBytes   = 4 << 20 // of one object: a chunk of the gateway's
	objectsAtOnce = 4       // that one stream writes: as many as a stream of the gateway's
)

func bareGetRecord(ctx context.Context, s *session) error {
	tenant, subject, record := s.object()
	_, _, err := s.table.Get(ctx, tenant, subject, record)
	return err
}

func barePutRecord(ctx context.Context, s *session) error {
	tenant, subject, record := s.object()
	value, err := proto.Marshal(personalRecord(subject, record))
	if err != nil {
		return err
	}
	_, err = s.table.Put(ctx, tenant, subject, record, value)
	return err
}

func bareMakeDrives(ctx context.Context, s *session) error {
	i, err := s.turn(s.shape.Drives)
	if err != nil {
		return err
	}
	return s.putObjects(ctx, driveID(i), s.shape.DriveBytes)
}

// bareWriteDrive writes objects of new names, as a gateway does: it overwrites none.
func bareWriteDrive(ctx context.Context, s *session) error {
	name := fmt.Sprintf("%s/%d", s.driveOf(), time.Now().UnixNano())
	return s.putObjects(ctx, name, min(s.shape.DriveBytes, streamBytes))
}

func (s *session) putObjects(ctx context.Context, prefix string, size int64) error {
	data := s.random(objectBytes)
	return s.bucket.PutAll(ctx, int(size/objectBytes), objectsAtOnce, func(i int) string {
		return objectName(prefix, i)
	}, data, func() { s.carried.Add(objectBytes) })
}

func bareReadDrive(ctx context.Context, s *session) error {
	room := s.random(messageBytes)
	for i := range int(min(s.shape.DriveBytes, streamBytes) / objectBytes) {
		n, err := s.bucket.Get(ctx, objectName(s.driveOf(), i), room)
		if err != nil {
			return err
		}
		s.carried.Add(uint64(n))
	}
	return nil
}

func objectName(prefix string, i int) string { return fmt.Sprintf("%s/%06d", prefix, i) }
