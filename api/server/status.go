package server

import (
	"context"
	"slices"
	"strings"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/internal/stages"
	"github.com/cairnledger/cairn/pqcrypto/pki"
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
		MemoryBytes: st.MemoryBytes, Problems: st.Problems,
	}
	resp.Repairs, resp.ScrubShare = st.Repairs, st.ScrubShare
	if !st.Scrubbed.IsZero() {
		resp.Scrubbed = st.Scrubbed.UnixMicro()
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
	for _, k := range st.Cosigners {
		resp.CosignerKeys = append(resp.CosignerKeys, &cairnv1.CosignerKey{Key: k.Key, Needed: uint32(k.Needed), Ledgers: uint32(k.Ledgers)})
	}
	for _, p := range st.Peers {
		resp.Peers = append(resp.Peers, &cairnv1.Peer{
			Id: p.ID, Name: p.Name, Address: p.Address, Kind: p.Kind, Connected: p.Connected, Match: p.Match, Problem: p.Problem,
		})
	}
	if req.GetLedgers() {
		if !caller(ctx).Roles.HasAny(pki.RoleReader) {
			return nil, denied(cairnv1.Ledger_Status_FullMethodName, " of all ledgers", pki.RoleReader, caller(ctx))
		}
		resp.Ledgers = s.ledgers()
	}
	if req.GetStages() {
		resp.Stages = s.stages()
	}
	return resp, nil
}

func (s *Server) ledgers() []*cairnv1.LedgerStatus {
	var all []*cairnv1.LedgerStatus
	for _, b := range s.cfg.Ledgers() {
		st, l := b.Brief(), b.Ledger()
		one := &cairnv1.LedgerStatus{
			Origin: b.Origin(), Program: l.Program().Name(), Role: st.Role, Leader: st.LeaderName, Term: st.Term, Size: l.Head().Size,
			QueuedRequests: st.QueuedRequests, QueuedBytes: st.QueuedBytes,
		}
		if sealed := l.Sealed(); sealed != nil {
			one.SealedSize = sealed.Size
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b *cairnv1.LedgerStatus) int { return strings.Compare(a.Origin, b.Origin) })
	return all
}

func (s *Server) stages() []*cairnv1.StageLatency {
	var all []*cairnv1.StageLatency
	for stage := range stages.Count {
		all = append(all, &cairnv1.StageLatency{
			Stage: stage.String(), SinceStart: latency(s.cfg.Stages.Total(stage)), Recent: latency(s.cfg.Stages.Recent(stage)),
		})
	}
	return all
}

func latency(d *stages.Distribution) *cairnv1.Latency {
	return &cairnv1.Latency{
		Count: d.Count, P50: d.Quantile(0.5).Nanoseconds(), P99: d.Quantile(0.99).Nanoseconds(), P999: d.Quantile(0.999).Nanoseconds(), Max: d.Max,
	}
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
