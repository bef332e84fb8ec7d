package transport

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
)

// TestPauses: the pause doubles up to its bound, also when connections are made that live only for a moment. One that
// lasted is made again at once, and a member that refuses is left in peace.
func TestPauses(t *testing.T) {
	t.Parallel()
	broken, refused := errors.New("broken"), errors.Mark(errors.New("another data directory"), ErrRefused)
	pause := time.Duration(0)
	for _, x := range []struct {
		lived time.Duration
		err   error
		want  time.Duration
	}{
		{0, broken, 2 * time.Millisecond},
		{0, broken, 4 * time.Millisecond},
		{time.Millisecond, broken, 8 * time.Millisecond},
		{redialMax, broken, 16 * time.Millisecond},
		{redialMax + 1, broken, 0},
		{time.Millisecond, io.EOF, 2 * time.Millisecond},
		{0, refused, 2 * time.Second},
		{0, refused, 2 * time.Second},
		{0, broken, 250 * time.Millisecond},
		{time.Millisecond, broken, 250 * time.Millisecond},
		{time.Hour, broken, 0},
	} {
		next := pauseAfter(pause, x.lived, x.err)
		if next != x.want {
			t.Errorf("after a pause of %s and a connection of %s that ended with %v: pause %s, want %s", pause, x.lived, x.err, next, x.want)
		}
		pause = next
	}
}

// served is a Dial whose connections end in memory: serve plays the member that accepts, after the hellos.
func served(t *testing.T, serve func(c class, conn net.Conn)) func(context.Context, NodeID, string) (net.Conn, error) {
	return func(_ context.Context, id NodeID, _ string) (net.Conn, error) {
		near, far := net.Pipe()
		t.Cleanup(func() { _ = far.Close() })
		go func() {
			hi, err := readHello(far, 1, id)
			if err == nil {
				_, err = far.Write(hello{hi.class, id, 1, Introduction{Cluster: testCluster}}.appendFrame(nil))
			}
			if err != nil {
				_ = far.Close()
				return
			}
			serve(hi.class, far)
		}()
		return near, nil
	}
}

// TestPeerThatBreaksEveryConnection is not dialled without a pause.
func TestPeerThatBreaksEveryConnection(t *testing.T) {
	t.Parallel()
	attempts := make(chan time.Time, 1000)
	accept := served(t, func(_ class, conn net.Conn) { _ = conn.Close() })
	tr := New(Config{
		Self: 1, Peers: map[NodeID]string{2: "unused"}, Membership: &acquainted{},
		Dial: func(ctx context.Context, id NodeID, addr string) (net.Conn, error) {
			attempts <- time.Now()
			return accept(ctx, id, addr)
		},
	})
	tr.Start(nil)
	defer tr.Close()
	// Two classes with eight attempts each: 2+4+…+128 ms, or a connection that lived longer than 250 ms.
	first := <-attempts
	var last time.Time
	for range 15 {
		last = <-attempts
	}
	if took := last.Sub(first); took < redialMax {
		t.Errorf("16 attempts to connect in %s, want pauses that grow", took)
	}
}
