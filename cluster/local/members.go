package local

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cockroachdb/errors"
	"go.yaml.in/yaml/v3"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/enrolment"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// Add makes a new node as two commands on two machines do, starts it, and waits until it votes in every
// ledger. It returns the new node. With replaces, the name of a node, that node is killed and its
// directory deleted first, and the new one takes its place.
//
// An error after the cluster has the node leaves the node where it is: it goes on by itself.
func (c *Cluster) Add(ctx context.Context, replaces string) (added NodeInfo, err error) {
	if replaces == "" && len(c.state.Nodes) >= MaxNodes {
		return added, errors.Newf("a local cluster has at most %d nodes", MaxNodes)
	}
	if replaces != "" {
		if _, err := c.Node(replaces); err != nil {
			return added, err
		}
		if err := c.Kill(ctx, replaces); err != nil && !errors.Is(err, ErrNotRunning) {
			return added, err
		}
	}
	info, request, err := c.newNode()
	if err != nil {
		return added, errors.Wrapf(err, "make the keys of %s", info.Name)
	}
	cl, err := c.Dial(ctx, "admin")
	if err != nil {
		return added, err
	}
	defer cl.Close()
	member, _, files, err := cl.AddMember(ctx, client.NewMember{Request: request, Replaces: replaces, Promote: true})
	if err != nil {
		return added, errors.Wrapf(err, "add %s", info.Name)
	}
	info.ID = member.Id
	if err := c.begin(ctx, info, files); err != nil {
		return added, errors.Wrapf(err, "make the files of %s", info.Name)
	}
	if replaces != "" {
		if err := c.forget(replaces); err != nil {
			return added, err
		}
	}
	if err := c.spawn(info.Name); err != nil {
		return added, errors.Wrapf(err, "start %s", info.Name)
	}
	return info, c.settled(ctx, cl, info.Name, replaces)
}

// Remove has a node leave the cluster for ever, stops it and deletes its directory. force: although the
// cluster survives fewer failures then.
func (c *Cluster) Remove(ctx context.Context, name string, force bool) error {
	if _, err := c.Node(name); err != nil {
		return err
	}
	cl, err := c.Dial(ctx, "admin")
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, err := cl.RemoveMember(ctx, name, force); err != nil {
		return errors.Wrapf(err, "remove %s", name)
	}
	if err := c.settled(ctx, cl, "", name); err != nil {
		return err
	}
	if err := c.Kill(ctx, name); err != nil && !errors.Is(err, ErrNotRunning) {
		return err
	}
	return c.forget(name)
}

// newNode makes the keys of a node that is to join, and the request of its machine.
func (c *Cluster) newNode() (info NodeInfo, request []byte, err error) {
	addrs, err := freePorts(3)
	if err != nil {
		return info, nil, err
	}
	// A name is used once. The file remembers the highest number, whatever became of the node.
	s := c.state
	s.Named = max(s.Named, len(s.Nodes)) + 1
	if err := s.write(c.dir); err != nil {
		return info, nil, err
	}
	c.state = s
	info = NodeInfo{Name: nodeName(s.Named - 1), API: addrs[0], Peer: addrs[1], HTTP: addrs[2]}
	cluster, err := pki.ParseClusterID(s.ClusterID)
	if err != nil {
		return info, nil, err
	}
	dir := c.NodeDir(info.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return info, nil, errors.Wrap(err, "create directory")
	}
	made, err := enrolment.Make(enrolment.Wanted{
		Kind: enrolment.Node, Name: info.Name, Suite: s.Suite, Cluster: cluster, Peer: info.Peer, API: info.API, HTTP: info.HTTP,
	})
	if err != nil {
		return info, nil, err
	}
	for _, k := range made.Keys {
		if err := pqcrypto.WriteKeyFile(filepath.Join(dir, k.Name), k.Key); err != nil {
			return info, nil, err
		}
	}
	return info, made.Request, c.certify(dir, made.Request)
}

// certify writes the authority's answer to a request.
func (c *Cluster) certify(dir string, request []byte) error {
	r, err := enrolment.Parse(request)
	if err != nil {
		return err
	}
	ca := filepath.Join(c.dir, "pki")
	authority, err := pki.LoadAuthority(filepath.Join(ca, "root.crt"), filepath.Join(ca, "root.key"))
	if err != nil {
		return err
	}
	answer, err := enrolment.Sign(authority, r, enrolment.Grant{Validity: LeafValidity})
	if err != nil {
		return err
	}
	for _, file := range answer.Files {
		if err := writeFile(filepath.Join(dir, file.Name), file.Data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// begin writes what the cluster has answered, makes the node's data directory, and notes the node.
func (c *Cluster) begin(ctx context.Context, info NodeInfo, files []*client.MemberFile) error {
	dir := c.NodeDir(info.Name)
	for _, f := range files {
		if f.Name == "node.yaml" {
			f.Data = append(f.Data, "log_file: log\n"...)
		}
		if err := writeFile(filepath.Join(dir, f.Name), f.Data, 0o644); err != nil {
			return err
		}
	}
	config, err := node.LoadConfig(c.configPath(info.Name))
	if err != nil {
		return err
	}
	if err := node.Init(ctx, config); err != nil {
		return err
	}
	return c.change(func(nodes []NodeInfo) []NodeInfo { return append(nodes, info) })
}

// forget deletes what a node that has left had.
func (c *Cluster) forget(name string) error {
	err := c.change(func(nodes []NodeInfo) []NodeInfo {
		return slices.DeleteFunc(nodes, func(n NodeInfo) bool { return n.Name == name })
	})
	if err != nil {
		return err
	}
	return errors.Wrapf(os.RemoveAll(c.NodeDir(name)), "delete the directory of %s", name)
}

// change writes other nodes to everything that names them: cluster.json, the clients' profiles and the
// file for the shell.
func (c *Cluster) change(f func([]NodeInfo) []NodeInfo) error {
	s := c.state
	s.Named = max(s.Named, len(s.Nodes))
	s.Nodes = f(slices.Clone(s.Nodes))
	c.mu.Lock()
	s.Founded = c.mu.founded
	c.mu.Unlock()
	if err := s.write(c.dir); err != nil {
		return err
	}
	c.state = s
	for _, p := range profiles {
		if err := c.renewProfile(c.Profile(p.name)); err != nil {
			return err
		}
	}
	return writeFile(c.EnvPath(), []byte(c.Environment().Shell()), 0o644)
}

func (c *Cluster) renewProfile(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return errors.Wrap(err, "read profile")
	}
	var p client.Profile // with the paths as they are written, so that the directory can be moved
	if err := yaml.Unmarshal(raw, &p); err != nil {
		return errors.Wrapf(err, "parse %s", file)
	}
	p.Endpoints = nil
	for _, n := range c.state.Nodes {
		p.Endpoints = append(p.Endpoints, client.Endpoint{Name: n.Name, Address: n.API})
	}
	return p.Write(file)
}

// settled waits until one node votes in every ledger and another one has left them all; "" is nobody.
func (c *Cluster) settled(ctx context.Context, cl *client.Client, votes, left string) error {
	for {
		why, err := unsettled(ctx, cl, votes, left)
		if err == nil && why == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = errors.New(why)
			}
			return errors.CombineErrors(errors.Wrap(ctx.Err(), "wait until the ledgers have their members"), err)
		case <-time.After(10 * pollEvery):
		}
	}
}

// unsettled says what is still to happen until settled; "" when nothing is.
func unsettled(ctx context.Context, cl *client.Client, votes, left string) (why string, err error) {
	members, err := cl.Members(ctx)
	if err != nil {
		return "", err
	}
	found := votes == ""
	for _, m := range members {
		if m.Name != votes && m.Name != left {
			continue
		}
		found = found || m.Name == votes
		for _, l := range m.Ledgers {
			if want := map[bool]string{true: "voter", false: ""}[m.Name == votes]; l.Role != want {
				return m.Name + " in " + l.Origin + ": " + l.Role + " " + l.Waiting, nil
			}
		}
	}
	if !found {
		return votes + " is not known yet", nil
	}
	return "", nil
}
