package server

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
)

// maxMemberRequest bounds a node's request, in bytes; package enrolment has the same bound.
const maxMemberRequest = 64 << 10

// members returns the cluster's nodes, or says that this node has none.
func (s *Server) members() (Members, error) {
	if s.cfg.Members == nil {
		return nil, refuse(codes.Unimplemented, ReasonUnimplemented, "this node has no directory of nodes")
	}
	return s.cfg.Members, nil
}

// AddMember implements cairnv1.AdminServer.
func (s *Server) AddMember(ctx context.Context, req *cairnv1.AddMemberRequest) (*cairnv1.AddMemberResponse, error) {
	m, err := s.members()
	if err != nil {
		return nil, err
	}
	if n := len(req.GetRequest()); n == 0 || n > maxMemberRequest {
		return nil, refuse(codes.InvalidArgument, ReasonInvalidArgument, fmt.Sprintf("a request of %d bytes, want 1 to %d", n, maxMemberRequest))
	}
	if len(req.GetReplaces()) > maxNodeName {
		return nil, ErrUnknownNode
	}
	if err := ctx.Err(); err != nil {
		return nil, err // nothing has happened yet
	}
	info, added, files, err := m.Add(ctx, principal(ctx), NewMember{
		Request: req.GetRequest(), Replaces: req.GetReplaces(), Promote: req.GetPromote(), Force: req.GetForce(),
	})
	if err != nil {
		return nil, err
	}
	resp := &cairnv1.AddMemberResponse{Member: memberInfo(&info), Added: added}
	for _, f := range files {
		resp.Files = append(resp.Files, &cairnv1.MemberFile{Name: f.Name, Data: f.Data})
	}
	return resp, nil
}

// PromoteMember implements cairnv1.AdminServer.
func (s *Server) PromoteMember(ctx context.Context, req *cairnv1.PromoteMemberRequest) (*cairnv1.ChangeMemberResponse, error) {
	return s.changeMember(ctx, req.GetName(), func(m Members) (bool, error) {
		return m.Promote(ctx, principal(ctx), req.GetName())
	})
}

// RemoveMember implements cairnv1.AdminServer.
func (s *Server) RemoveMember(ctx context.Context, req *cairnv1.RemoveMemberRequest) (*cairnv1.ChangeMemberResponse, error) {
	return s.changeMember(ctx, req.GetName(), func(m Members) (bool, error) {
		return m.Remove(ctx, principal(ctx), req.GetName(), req.GetForce())
	})
}

func (s *Server) changeMember(ctx context.Context, name string, change func(Members) (bool, error)) (*cairnv1.ChangeMemberResponse, error) {
	m, err := s.members()
	if err != nil {
		return nil, err
	}
	if name == "" || len(name) > maxNodeName {
		return nil, ErrUnknownNode
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	changed, err := change(m)
	if err != nil {
		return nil, err
	}
	return &cairnv1.ChangeMemberResponse{Changed: changed}, nil
}

// ListMembers implements cairnv1.AdminServer.
func (s *Server) ListMembers(context.Context, *cairnv1.ListMembersRequest) (*cairnv1.ListMembersResponse, error) {
	m, err := s.members()
	if err != nil {
		return nil, err
	}
	resp := &cairnv1.ListMembersResponse{}
	for _, info := range m.List() {
		resp.Members = append(resp.Members, memberInfo(&info))
	}
	return resp, nil
}

func memberInfo(m *MemberInfo) *cairnv1.Member {
	out := &cairnv1.Member{
		Id: m.ID, Name: m.Name, Role: m.Role, Peer: m.Peer, Api: m.API, Http: m.HTTP, Replaces: m.Replaces, By: m.By, Time: m.Time,
		Connected: m.Connected, Awaited: m.Awaited,
	}
	for _, l := range m.Ledgers {
		out.Ledgers = append(out.Ledgers, &cairnv1.MemberLedger{
			Origin: l.Origin, Role: l.Role, Leads: l.Leads, Settled: l.Settled, Known: l.Known, Match: l.Match, Commit: l.Commit, Waiting: l.Waiting,
		})
	}
	return out
}
