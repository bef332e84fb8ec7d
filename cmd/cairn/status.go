package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
)

// statusTimeout is how long one node may take to answer.
const statusTimeout = 3 * time.Second

// nodeStatus is one node as it is printed.
type nodeStatus struct {
	Node     string `json:"node"`
	Address  string `json:"address,omitempty"`
	Process  string `json:"process,omitempty"` // local clusters only
	PID      int    `json:"pid,omitempty"`
	Error    string `json:"error,omitempty"`
	Role     string `json:"role,omitempty"`
	Leader   string `json:"leader,omitempty"`
	Term     uint64 `json:"term,omitempty"`
	Commit   uint64 `json:"commit,omitempty"`
	Applied  uint64 `json:"applied,omitempty"`
	Electing bool   `json:"electing,omitempty"` // no node leads, and a majority is there to elect one
	*figures
	Root       string `json:"root,omitempty"`
	SealedRoot string `json:"sealed_root,omitempty"`
	// ComparedSize is the size at which the nodes' roots were compared, ComparedRoot this node's.
	// Both are absent when this node was not compared.
	ComparedSize uint64       `json:"compared_size,omitempty"`
	ComparedRoot string       `json:"compared_root,omitempty"`
	Differs      bool         `json:"differs,omitempty"`
	Origin       string       `json:"origin,omitempty"`
	Program      string       `json:"program,omitempty"`
	Version      string       `json:"version,omitempty"`
	Started      string       `json:"started,omitempty"`
	Peers        []peerStatus `json:"peers,omitempty"`
	Problems     []string     `json:"problems,omitempty"` // what keeps the node from its work now
	// Certificates are those that the node depends on, of each kind the one that ends first.
	Certificates []certificateStatus `json:"certificates,omitempty"`
	// Cosigners are the cosigner keys that the node has, the one in use first.
	Cosigners []cosignerStatus `json:"cosigner_keys,omitempty"`
}

// figures are the numbers that a node gives about itself. They are absent, not zero, when the node
// does not answer.
type figures struct {
	Size       uint64 `json:"size"`
	SealedSize uint64 `json:"sealed_size"`
	Queued     uint64 `json:"queued_requests"`
	WALBytes   uint64 `json:"wal_bytes"`
	StoreBytes uint64 `json:"store_bytes"`
	DiskFree   uint64 `json:"disk_free_bytes"`
	Memory     uint64 `json:"memory_bytes"`
	// Repairs are those of the ledger's store since the node started. Scrubbed is when all of it was
	// last read again, or how much of the first pass is done, in per cent.
	Repairs  uint64 `json:"repairs"`
	Scrubbed string `json:"scrubbed"`
}

type peerStatus struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	Connected bool   `json:"connected"`
	Match     uint64 `json:"match,omitempty"`
	Problem   string `json:"problem,omitempty"` // why the node exchanges nothing with this peer
}

type certificateStatus struct {
	Kind    string `json:"kind"` // identity, kem, issuer, root
	Serial  string `json:"serial"`
	Expires string `json:"expires"`
	Soon    bool   `json:"soon"` // the node warns about it
}

// cosignerStatus is a cosigner key of a node, and how many of its ledgers have a policy in force that
// names the key.
type cosignerStatus struct {
	Key     string `json:"key"`
	Needed  uint32 `json:"needed_by"`
	Ledgers uint32 `json:"ledgers"`
}

func (s *nodeStatus) fill(r *cairnv1.StatusResponse) {
	s.Role, s.Leader, s.Term, s.Commit, s.Applied = r.Role, r.Leader, r.Term, r.Commit, r.Applied
	s.figures = &figures{
		Size: r.Size, SealedSize: r.SealedSize, Queued: r.QueuedRequests, WALBytes: r.WalBytes, StoreBytes: r.StoreBytes, DiskFree: r.DiskFreeBytes,
		Memory:  r.MemoryBytes,
		Repairs: r.Repairs, Scrubbed: fmt.Sprintf("%.0f%%", 100*r.ScrubShare),
	}
	if r.Scrubbed > 0 {
		s.Scrubbed = timeString(r.Scrubbed)
	}
	s.Root, s.SealedRoot = hex.EncodeToString(r.Root), hex.EncodeToString(r.SealedRoot)
	s.Problems = r.Problems
	s.Origin, s.Program, s.Version, s.Started = r.Origin, r.Program, r.Version, timeString(r.Started)
	for _, c := range r.Certificates {
		s.Certificates = append(s.Certificates, certificateStatus{c.Kind, c.Serial, time.Unix(c.Expires, 0).UTC().Format(time.RFC3339), c.Soon})
	}
	for _, k := range r.CosignerKeys {
		s.Cosigners = append(s.Cosigners, cosignerStatus{k.Key, k.Needed, k.Ledgers})
	}
	for _, p := range r.Peers {
		s.Peers = append(s.Peers, peerStatus{Name: p.Name, Kind: p.Kind, Connected: p.Connected, Match: p.Match, Problem: p.Problem})
	}
}

func (a *app) statusCommand() *cobra.Command {
	var byStage, recent bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Print the state of every node of the profile",
		Long: `Ask every node of the profile for the state of its replica of the ledger, and
compare their roots at a size that all of them have sealed. An election that
goes on is waited for, up to three seconds. Exits with 3 if the roots differ,
with 6 if no node leads, with 0 otherwise, even if some nodes are down.

With --stages it prints instead how long each stage of appends and reads takes
on each node, in all of its ledgers together: since the node's start, or with
--recent in the last minute. docs/performance.md says what the stages are.`,
		Example: `  cairn status
  cairn status --stages
  cairn status --stages --recent --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if recent && !byStage {
				return usagef("--recent needs --stages")
			}
			p, err := a.profile()
			if err != nil {
				return err
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				if byStage {
					return a.printStages(askStages(ctx, c, p.Endpoints, recent), recent)
				}
				all, err := settled(ctx, func() ([]nodeStatus, error) { return askAll(ctx, c, p.Endpoints), nil })
				if err != nil {
					return err
				}
				return a.printStatus(p.Origin, all)
			})
		},
	}
	cmd.Flags().BoolVar(&byStage, "stages", false, "print how long each stage of appends and reads takes")
	cmd.Flags().BoolVar(&recent, "recent", false, "with --stages: in the last minute, not since the start")
	return cmd
}

// askAll asks the nodes for their state at the same time, and compares their roots.
func askAll(ctx context.Context, c *client.Client, nodes []client.Endpoint) []nodeStatus {
	all, answers := make([]nodeStatus, len(nodes)), make([]*cairnv1.StatusResponse, len(nodes))
	eachNode(nodes, func(i int, e client.Endpoint) { all[i], answers[i] = askStatus(ctx, c, e) })
	answered := map[string]*cairnv1.StatusResponse{}
	for i, e := range nodes {
		if answers[i] != nil {
			answered[e.Name] = answers[i]
		}
	}
	markRoots(all, c.CompareRoots(ctx, answered))
	return all
}

// eachNode calls ask for all nodes at the same time.
func eachNode(nodes []client.Endpoint, ask func(int, client.Endpoint)) {
	var wg sync.WaitGroup
	for i, e := range nodes {
		wg.Go(func() { ask(i, e) })
	}
	wg.Wait()
}

func askStatus(ctx context.Context, c *client.Client, e client.Endpoint) (nodeStatus, *cairnv1.StatusResponse) {
	s := nodeStatus{Node: e.Name, Address: e.Address}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	r, err := c.Status(ctx, e.Name)
	if err != nil {
		s.Error = statusError(err)
		return s, nil
	}
	s.fill(r)
	return s, r
}

// printStatus prints the ledger's name and a table of the nodes, or one object per node.
func (a *app) printStatus(origin string, all []nodeStatus) error {
	for _, s := range all {
		if a.json {
			if err := a.emit(s, nil); err != nil {
				return err
			}
		}
	}
	if !a.json {
		err := a.emit(nil, func(w *page) {
			fields(w, "ledger", ledgerLine(origin, all))
			statusTable(w, all)
		})
		if err != nil {
			return err
		}
	}
	if err := rootsDiffer(all); err != nil {
		return err
	}
	return noLeader(all)
}

// ledgerLine names the ledger and, if a node told it, the program.
func ledgerLine(origin string, all []nodeStatus) string {
	for _, s := range all {
		if s.Program != "" {
			return printable(origin) + ", program " + printable(s.Program)
		}
	}
	return printable(origin)
}

func statusTable(w *page, all []nodeStatus) {
	withProcess := false
	for _, s := range all {
		withProcess = withProcess || s.Process != ""
	}
	header := []string{"node", "role", "term", "applied", "size", "sealed", "root", "up", "wal", "store", "free", "version", "address"}
	if withProcess {
		header = append(header, "process")
	}
	t := newTable(header...).alignRight(2, 3, 4, 5, 7, 8, 9, 10)
	for _, s := range all {
		row := []string{s.Node, "(no answer)", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", s.Address}
		if f := s.figures; f != nil {
			up := "-"
			if started, err := time.Parse(time.RFC3339Nano, s.Started); err == nil {
				up = time.Since(started).Truncate(time.Second).String()
			}
			role := s.Role
			if s.Electing {
				role = doubtful("electing")
			}
			row = []string{s.Node, role, strconv.FormatUint(s.Term, 10), count(s.Applied), count(f.Size), count(f.SealedSize), s.rootMark(), up,
				bytesString(f.WALBytes), bytesString(f.StoreBytes), bytesString(f.DiskFree), s.Version, s.Address}
		}
		if withProcess {
			process := s.Process
			if s.PID != 0 {
				process += " " + strconv.Itoa(s.PID)
			}
			row = append(row, process)
		}
		t.row(row...)
	}
	t.write(w)
	for _, s := range all {
		if s.Error != "" {
			w.hang("", s.Error)
		}
		for _, problem := range s.Problems {
			w.hang("", s.Node+": "+bad("problem")+": "+problem)
		}
		for _, c := range s.Certificates {
			if c.Soon {
				w.hang("", fmt.Sprintf("%s: %s: the %s certificate, serial number %s, expires %s", s.Node, doubtful("renew"), c.Kind, c.Serial, c.Expires))
			}
		}
		if k := s.Cosigners; len(k) == 2 {
			says := fmt.Sprintf("%d of %d ledgers name the next one alone or beside the present one", k[1].Needed, k[1].Ledgers)
			if k[0].Needed == 0 {
				says = "no ledger names the first one any more: remove it, and make the next one the only one"
			}
			w.hang("", s.Node+": two cosigner keys: "+says)
		}
		for _, p := range s.Peers {
			if p.Problem != "" {
				w.hang("", s.Node+" and "+p.Name+": "+p.Problem)
			}
		}
	}
}
