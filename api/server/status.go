package server

import (
	"context"

	"github.com/cairnledger/cairn/api/cairnv1"
)

// Status implements cairnv1.LedgerServer.
func (s *Server) Status(ctx context.Context, req *cairnv1.StatusRequest) (*cairnv1.StatusResponse, error) {
	b := backend(ctx)
	st, l := b.Status(), b.Ledger()
	head := l.Head()
	resp := &cairnv1.StatusResponse{
		Node: st.Node, Id: st.ID, Origin: b.Origin(), Version: st.Version, Role: st.Role,
		Leader: st.LeaderName, LeaderAddress: st.LeaderAddr,
		Term: st.Term, Commit: st.Commit, Applied: st.Applied,
		Size: head.Size, Root: head.Root[:], Started: st.Started.UnixMicro(),
		WalBytes: st.WALBytes, StoreBytes: st.StoreBytes, DiskFreeBytes: st.DiskFreeBytes,
		QueuedRequests: st.QueuedRequests, QueuedBytes: st.QueuedBytes,
		Program: l.Program().Name(), ProgramVersion: l.Program().Version(),
	}
	if sealed := l.Sealed(); sealed != nil {
		resp.SealedSize, resp.SealedRoot = sealed.Size, sealed.Root[:]
	}
	if size := req.GetRootSize(); size > 0 && size <= head.Size {
		root, err := l.RootAt(size)
		if err != nil {
			return nil, err
		}
		resp.RequestedRoot = root[:]
	}
	for _, c := range st.Certificates {
		resp.Certificates = append(resp.Certificates, &cairnv1.CertificateStatus{Kind: c.Kind, Serial: c.Serial, Expires: c.Expires.Unix(), Soon: c.Soon})
	}
	for _, p := range st.Peers {
		resp.Peers = append(resp.Peers, &cairnv1.Peer{
			Id: p.ID, Name: p.Name, Address: p.Address, Kind: p.Kind, Connected: p.Connected, Match: p.Match, Problem: p.Problem,
		})
	}
	return resp, nil
}

// maxNodeName bounds the name in an admin's request; longer ones name nobody.
const maxNodeName = 253

// TransferLeadership implements cairnv1.AdminServer. Its outcome is unknown once the transfer has
// begun: leadership may move later.
func (s *Server) TransferLeadership(ctx context.Context, req *cairnv1.TransferLeadershipRequest) (*cairnv1.TransferLeadershipResponse, error) {
	if len(req.GetTo()) > maxNodeName {
		return nil, ErrUnknownNode
	}
	if err := backend(ctx).TransferLeadership(ctx, req.GetTo()); err != nil {
		r := *explain(err)
		r.indefinite = r.reason == ReasonDeadline || r.indefinite
		return nil, &r
	}
	return &cairnv1.TransferLeadershipResponse{Leader: backend(ctx).Status().LeaderName}, nil
}
