package server

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/ledger"
)

const (
	maxParameters = 64 // of a new ledger
	// pageLedgers is how many ledgers a page of the listing has. A ledger of 32 members with the
	// longest keys takes 300 KiB.
	pageLedgers = 64
)

// directory returns the cluster's directory, or says that this node has none.
func (s *Server) directory() (Directory, error) {
	if s.cfg.Directory == nil {
		return nil, refuse(codes.Unimplemented, ReasonUnimplemented, "this node has no directory of ledgers")
	}
	return s.cfg.Directory, nil
}

// CreateLedger implements cairnv1.DirectoryServer.
func (s *Server) CreateLedger(ctx context.Context, req *cairnv1.CreateLedgerRequest) (*cairnv1.CreateLedgerResponse, error) {
	d, err := s.directory()
	if err != nil {
		return nil, err
	}
	l := NewLedger{Origin: req.GetOrigin(), Program: req.GetProgram()}
	if n := len(l.Origin); n == 0 || n > maxOrigin {
		return nil, refuse(codes.InvalidArgument, ReasonInvalidArgument, fmt.Sprintf("an origin of %d bytes, want 1 to %d", n, maxOrigin))
	}
	if n := len(req.GetParameters()); n > maxParameters {
		return nil, refuse(codes.InvalidArgument, ReasonInvalidArgument, fmt.Sprintf("a ledger has at most %d parameters", maxParameters)).
			limit("parameters", maxParameters, uint64(n), 0)
	}
	for _, p := range req.GetParameters() {
		l.Parameters = append(l.Parameters, ledger.Parameter{Name: p.GetName(), Value: p.GetValue()})
	}
	if err := ctx.Err(); err != nil {
		return nil, err // nothing has happened yet
	}
	info, created, err := d.Create(ctx, principal(ctx), l)
	if err != nil {
		return nil, err
	}
	return &cairnv1.CreateLedgerResponse{Ledger: ledgerInfo(&info), Created: created}, nil
}

// ListLedgers implements cairnv1.DirectoryServer.
func (s *Server) ListLedgers(ctx context.Context, req *cairnv1.ListLedgersRequest) (*cairnv1.ListLedgersResponse, error) {
	d, err := s.directory()
	if err != nil {
		return nil, err
	}
	all, err := d.List(ctx)
	if err != nil {
		return nil, definite(err)
	}
	all = slices.DeleteFunc(slices.Clone(all), func(l LedgerInfo) bool { return l.Genesis.Origin <= req.GetAfter() })
	slices.SortFunc(all, func(a, b LedgerInfo) int { return strings.Compare(a.Genesis.Origin, b.Genesis.Origin) })
	page := all[:min(len(all), pageLedgers)]
	resp := &cairnv1.ListLedgersResponse{More: len(page) < len(all)}
	for i := range page {
		resp.Ledgers = append(resp.Ledgers, ledgerInfo(&page[i]))
	}
	return resp, nil
}

// GetLedger implements cairnv1.DirectoryServer.
func (s *Server) GetLedger(ctx context.Context, req *cairnv1.GetLedgerRequest) (*cairnv1.GetLedgerResponse, error) {
	d, err := s.directory()
	if err != nil {
		return nil, err
	}
	if len(req.GetOrigin()) > maxOrigin {
		return nil, ErrUnknownLedger
	}
	info, err := d.Show(ctx, req.GetOrigin())
	if err != nil {
		return nil, definite(err)
	}
	return &cairnv1.GetLedgerResponse{Ledger: ledgerInfo(&info)}, nil
}

func ledgerInfo(l *LedgerInfo) *cairnv1.LedgerInfo {
	g := &l.Genesis
	out := &cairnv1.LedgerInfo{
		Origin: g.Origin, Program: g.Program, ProgramVersion: g.ProgramVersion, Group: l.Group, Creator: l.Creator, Time: l.Time,
		SealQuorum: g.SealQuorum, FeatureLevel: g.FeatureLevel, LogKeys: g.LogKeys,
	}
	for _, p := range g.Parameters {
		out.Parameters = append(out.Parameters, &cairnv1.Parameter{Name: p.Name, Value: p.Value})
	}
	for _, m := range g.Members {
		out.Members = append(out.Members, &cairnv1.LedgerMember{Id: m.ID, Name: m.Name, Cosigner: m.Cosigner})
	}
	return out
}
