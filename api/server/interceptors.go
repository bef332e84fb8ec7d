package server

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// unary stands around every unary handler.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	if err := verdict(ctx); err != nil {
		return nil, err
	}
	start := time.Now()
	defer func() { s.done(ctx, info.FullMethod, err, time.Since(start)) }()
	defer s.recover(info.FullMethod, &err)
	resp, err = handler(ctx, req)
	return resp, s.finish(info.FullMethod, err)
}

// stream stands around every streaming handler.
func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	if err := verdict(ss.Context()); err != nil {
		return err
	}
	start := time.Now()
	defer func() { s.done(ss.Context(), info.FullMethod, err, time.Since(start)) }()
	defer s.recover(info.FullMethod, &err)
	ctx, cancel := context.WithCancel(ss.Context())
	defer cancel()
	if !strings.HasPrefix(info.FullMethod, "/cairn.") {
		// Health watches would hold up a stop; our own streams end in their own way.
		stop := s.onStop(cancel)
		defer stop()
	}
	return s.finish(info.FullMethod, handler(srv, &stoppable{ss, ctx}))
}

// stoppable is a stream whose context this server can end.
type stoppable struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *stoppable) Context() context.Context { return s.ctx }

// onStop calls f when the server stops, unless the returned function was called before.
func (s *Server) onStop(f func()) (release func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-s.stopping:
			f()
		case <-done:
		}
	}()
	return func() { close(done) }
}

// finish gives every error its form. Errors that have a gRPC status already (health, reflection,
// the transport) keep it.
func (s *Server) finish(method string, err error) error {
	if err == nil {
		return nil
	}
	r, ours := err.(*refusal)
	if _, ok := err.(interface{ GRPCStatus() *status.Status }); ok && !ours {
		return err
	}
	if !ours {
		r = explain(err)
	}
	if r.reason == ReasonInternal || r.reason == ReasonCorrupt {
		s.cfg.Logf("%s: %+v", method, err)
	}
	return r
}

// maxLogLine bounds what one Logf writes, in bytes: a panic or an error may repeat what a client
// sent.
const maxLogLine = 16 << 10

// bounded is a Logf that writes at most about maxLogLine.
func bounded(logf func(string, ...any)) func(string, ...any) {
	return func(format string, args ...any) { logf("%s", cut(fmt.Sprintf(format, args...), maxLogLine)) }
}

// cut shortens a text to so many bytes, and then says how long it was.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(text[:most], ""), len(text))
}

// recover turns a panic of a handler into an error. The invariants that a panic stands for are
// those of one request; whatever concerns the ledger panics on the ledger's own goroutines and ends
// the process.
func (s *Server) recover(method string, err *error) {
	if p := recover(); p != nil {
		s.cfg.Logf("%s: panic: %s\n%s", method, cut(fmt.Sprint(p), maxLogLine/4), debug.Stack())
		r := refuse(codes.Internal, ReasonInternal, "internal error; the node's log says more")
		r.indefinite = true
		*err = r
		s.metrics.panics.Inc()
	}
}
