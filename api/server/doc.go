// Package server serves the API cairn.v1 of a node's ledgers over gRPC: services Ledger, Admin
// and Directory, grpc.health.v1 and reflection.
//
// # What it guarantees
//
// Who may call what is decided for every RPC from the peer's certificate, by the table in roles.go:
// a participant reads of a ledger's entries the genesis alone. The principal of an append is the
// certificate's SPIFFE ID and nothing that the client says.
//
// Every call of cairn.v1 names a ledger by its origin, and touches that one only. A call for a
// ledger that this node does not host is refused before anything of it is read.
//
// Every error says whether its outcome is definite (the call had no effect and never will) or not,
// and carries a reason for programs: see the Reason constants. An append is never reported as
// definitely failed once it may have entered the log.
//
// Nothing that a client sends makes a node fail or grow without bound: messages, entries, streams,
// connections, watchers and waiting times are limited (Limits), numbers are checked before they are
// used, and a client that does not read loses its stream, with the index where it may resume. If a
// handler panics all the same, the call fails as INTERNAL with an unknown outcome and the stack is
// logged.
//
// # What it assumes
//
// That each Backend keeps its promises, and that credentials are the authenticated channel (package
// lpa) or that Config.Peer says who the peer is. package cluster/node assembles it:
//
//	s, err := server.New(server.Config{
//		Ledger: find, Directory: d, Policy: policy, Credentials: channel.Credentials(nil),
//	})
//	go s.Serve(listener)
//	defer s.Stop(ctx)
package server
