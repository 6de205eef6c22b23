//go:build linux && (amd64 || arm64)

package pebble

import (
	"encoding/binary"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// syncer makes files durable without a thread that waits for the disk: the
// kernel is asked to (io_submit(2), IOCB_CMD_FDSYNC) and tells the runtime's poller when it has.
// A thread that blocks in fdatasync(2) costs about as much again as the write
// itself, since the runtime takes its processor away, finds another thread for that,
// and looks for more of the kind at short intervals.
//
// The zero syncer is ready. Where the kernel or the file system cannot do it,
// every sync says so and the caller does it itself.
type syncer struct {
	mu     sync.Mutex
	idle   []*request
	unable bool // the kernel refused: do not ask again
	closed bool
}

// request is one sync at a time. The kernel has no address of it beyond a call.
type request struct {
	context uintptr // the kernel's, of io_setup(2)
	ready   *os.File
	fd      uint32 // of ready
	op      iocb
	done    ioEvent
}

// iocb and ioEvent are the kernel's (linux/aio_abi.h), little-endian. What is not
// named stays zero.
type iocb struct {
	_        [16]byte
	opcode   uint16
	_        uint16
	file     uint32
	_        [32]byte
	flags    uint32
	resultFD uint32
}

type ioEvent struct {
	_      [16]byte
	result int64
	_      [8]byte
}

const (
	commandDataSync = 3       // IOCB_CMD_FDSYNC
	flagResultFD    = 1       // IOCB_FLAG_RESFD
	eventFDFlags    = 0x80800 // EFD_CLOEXEC | EFD_NONBLOCK
)

// sync is fdatasync(2). done is false when nothing was asked of the kernel.
func (s *syncer) sync(file uintptr) (done bool, err error) {
	if file == vfs.InvalidFd {
		return false, nil
	}
	r := s.take()
	if r == nil {
		return false, nil
	}
	if !r.submit(file) {
		s.refused(r)
		return false, nil
	}
	err = r.wait()
	s.give(r)
	return true, err
}

// take gives a request that is not in use, or nil.
func (s *syncer) take() *request {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unable || s.closed {
		return nil
	}
	if n := len(s.idle); n > 0 {
		r := s.idle[n-1]
		s.idle = s.idle[:n-1]
		return r
	}
	r, err := newRequest()
	s.unable = err != nil
	return r
}

func (s *syncer) give(r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		r.close()
		return
	}
	s.idle = append(s.idle, r)
}

func (s *syncer) refused(r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unable = true
	r.close()
}

// close gives back what is idle; a request that is in use goes when it is done.
func (s *syncer) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, r := range s.idle {
		r.close()
	}
	s.idle = nil
}

func newRequest() (*request, error) {
	r := new(request)
	if _, _, errno := syscall.Syscall(syscall.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&r.context)), 0); errno != 0 { //nolint:gosec // the kernel writes the context there
		return nil, errno
	}
	fd, _, errno := syscall.Syscall(syscall.SYS_EVENTFD2, 0, eventFDFlags, 0)
	if errno != 0 {
		_, _, _ = syscall.Syscall(syscall.SYS_IO_DESTROY, r.context, 0, 0)
		return nil, errno
	}
	r.fd, r.ready = uint32(fd), os.NewFile(fd, "eventfd") //nolint:gosec // a descriptor is small
	return r, nil
}

func (r *request) close() {
	_ = r.ready.Close() // nothing was written to it
	_, _, _ = syscall.Syscall(syscall.SYS_IO_DESTROY, r.context, 0, 0)
}

// submit asks the kernel to make a file durable; false = it will not.
func (r *request) submit(file uintptr) bool {
	r.op = iocb{opcode: commandDataSync, file: uint32(file), flags: flagResultFD, resultFD: r.fd} //nolint:gosec // a descriptor is small
	op := &r.op
	n, _, errno := syscall.Syscall(syscall.SYS_IO_SUBMIT, r.context, 1, uintptr(unsafe.Pointer(&op))) //nolint:gosec // the kernel copies it within the call
	return errno == 0 && n == 1
}

// wait returns when the kernel has, with what came of it. The poller wakes it.
func (r *request) wait() error {
	var count [8]byte
	if _, err := r.ready.Read(count[:]); err != nil {
		return err
	}
	if binary.LittleEndian.Uint64(count[:]) != 1 {
		return syscall.EIO
	}
	var now syscall.Timespec
	n, _, errno := syscall.Syscall6(syscall.SYS_IO_GETEVENTS, r.context, 1, 1,
		uintptr(unsafe.Pointer(&r.done)), uintptr(unsafe.Pointer(&now)), 0) //nolint:gosec // the kernel writes the event there
	switch {
	case errno != 0:
		return errno
	case n != 1:
		return syscall.EIO
	case r.done.result != 0:
		return syscall.Errno(-r.done.result) //nolint:gosec // an error number, negated
	}
	return nil
}
