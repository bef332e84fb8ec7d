package client

import (
	"context"
	"time"

	"github.com/cairnledger/cairn/api/cairnv1"
)

// Member is a node of the cluster, with what it is in every ledger. It is the word of authenticated
// nodes.
type Member = cairnv1.Member

// MemberFile is a file for a new node.
type MemberFile = cairnv1.MemberFile

// NewMember is a node that is to be added.
type NewMember struct {
	Request  []byte // what `cairn node keys` has written
	Replaces string // name of the node in whose place it is; "" for none
	// Promote: the node is to vote once it is caught up.
	Promote bool
	// Force: the node that is replaced may leave although the cluster survives fewer failures then.
	Force bool
}

// AddMember adds a node to the cluster and returns what it begins with. A node that was added before, as
// by an attempt whose answer was lost, is returned in the same way, and added is false. Role: admin.
func (c *Client) AddMember(ctx context.Context, m NewMember) (member *Member, added bool, files []*MemberFile, err error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	req := &cairnv1.AddMemberRequest{Request: m.Request, Replaces: m.Replaces, Promote: m.Promote, Force: m.Force}
	resp, _, err := exchange(ctx, c, "add member", true, false, func(ctx context.Context, n *node) (*cairnv1.AddMemberResponse, error) {
		return n.admin.AddMember(ctx, req)
	})
	if err != nil {
		return nil, false, nil, err
	}
	return resp.Member, resp.Added, resp.Files, nil
}

// PromoteMember has a learner vote. It returns when the cluster has noted that; the ledgers follow
// (Members). changed is false if it was asked for before. Role: admin.
func (c *Client) PromoteMember(ctx context.Context, name string) (changed bool, err error) {
	return c.changeMember(ctx, "promote member", func(ctx context.Context, n *node) (*cairnv1.ChangeMemberResponse, error) {
		return n.admin.PromoteMember(ctx, &cairnv1.PromoteMemberRequest{Name: name})
	})
}

// RemoveMember has a node leave the cluster for ever. force: although the cluster survives fewer failures
// then. It returns as PromoteMember does. Role: admin.
func (c *Client) RemoveMember(ctx context.Context, name string, force bool) (changed bool, err error) {
	return c.changeMember(ctx, "remove member", func(ctx context.Context, n *node) (*cairnv1.ChangeMemberResponse, error) {
		return n.admin.RemoveMember(ctx, &cairnv1.RemoveMemberRequest{Name: name, Force: force})
	})
}

func (c *Client) changeMember(ctx context.Context, what string, call func(context.Context, *node) (*cairnv1.ChangeMemberResponse, error)) (bool, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	resp, _, err := exchange(ctx, c, what, true, false, call)
	return resp.GetChanged(), err
}

// memberTimeout bounds the question to one node.
const memberTimeout = 2 * time.Second

// Members returns the nodes of the cluster by ascending id, those included that were removed. How far a
// node is in a ledger, and what it waits for, is the word of the ledger's leader, as far as the leader
// is a node that this client knows and answers.
func (c *Client) Members(ctx context.Context) ([]*Member, error) {
	resp, first, err := read(ctx, c, func(ctx context.Context, n *node) (*cairnv1.ListMembersResponse, error) {
		return n.admin.ListMembers(ctx, &cairnv1.ListMembersRequest{})
	})
	if err != nil {
		return nil, err
	}
	all := resp.Members
	var others []*node
	for _, name := range c.nodes.names() {
		if n := c.nodes.byName(name); n != nil && n != first {
			others = append(others, n)
		}
	}
	answers := make(chan *cairnv1.ListMembersResponse, len(others))
	for _, n := range others {
		go func() {
			ctx, cancel := context.WithTimeout(ctx, memberTimeout)
			defer cancel()
			resp, _ := n.admin.ListMembers(ctx, &cairnv1.ListMembersRequest{})
			answers <- resp
		}()
	}
	for range others {
		resp := <-answers
		if len(resp.GetMembers()) > len(all) {
			resp.Members, all = all, resp.Members // it knows a node more
		}
		adoptLeaders(all, resp.GetMembers())
	}
	return all, nil
}

// adoptLeaders takes over what other says as the leader of ledgers.
func adoptLeaders(all, other []*Member) {
	for _, m := range other {
		for _, mine := range all {
			if mine.GetId() != m.GetId() {
				continue
			}
			for _, l := range m.GetLedgers() {
				for i, have := range mine.GetLedgers() {
					if l.GetKnown() && have.GetOrigin() == l.GetOrigin() {
						mine.Ledgers[i] = l
					}
				}
			}
		}
	}
}
