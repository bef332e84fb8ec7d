package server

import (
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/cairnledger/cairn/api/cairnv1"
)

// lateStream ends a send only when somebody has lost patience.
type lateStream struct {
	grpc.BidiStreamingServer[cairnv1.AppendStreamRequest, cairnv1.AppendStreamResponse]
	stalled chan struct{}
}

func (s *lateStream) Send(*cairnv1.AppendStreamResponse) error {
	<-s.stalled
	return nil
}

// TestStallHasOneReason: a send that ends in the moment in which the guard loses patience does not
// end the stream for another reason than the guard's.
func TestStallHasOneReason(t *testing.T) {
	s := &lateStream{stalled: make(chan struct{})}
	a := &duplex[cairnv1.AppendStreamRequest, cairnv1.AppendStreamResponse]{
		s: &Server{limits: Limits{SendStall: time.Millisecond}}, stream: s, ctx: t.Context(), answers: make(chan answer[cairnv1.AppendStreamResponse], 1),
	}
	a.window.init(1, 1)
	a.answers <- answer[cairnv1.AppendStreamResponse]{}
	if err := a.write(func() { close(s.stalled) }); err != nil {
		t.Errorf("the writer ends the stream: %v, want that to be left to the guard", err)
	}
}
