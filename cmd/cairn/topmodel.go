package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cairnledger/cairn/api/cairnv1"
)

// topSample is what the nodes answered at one moment. A node that did not answer has an error.
type topSample struct {
	at    time.Time
	nodes []topAnswer
}

type topAnswer struct {
	name string
	err  string
	*cairnv1.StatusResponse
}

// topSnapshot is what cairn top shows, made of two samples.
type topSnapshot struct {
	Time    string      `json:"time"`
	Rate    float64     `json:"entries_per_second"` // of all ledgers
	Nodes   []topNode   `json:"nodes"`
	Ledgers []topLedger `json:"ledgers"`
}

type topNode struct {
	Node     string        `json:"node"`
	Error    string        `json:"error,omitempty"`
	Role     string        `json:"role,omitempty"` // in the profile's ledger, like term
	Term     uint64        `json:"term,omitempty"`
	Rate     float64       `json:"entries_per_second"` // applied, in all ledgers
	Sealed   uint64        `json:"sealed_size"`
	Lag      uint64        `json:"unsealed"`
	Queued   uint64        `json:"queued_requests"` // of all ledgers
	Memory   uint64        `json:"memory_bytes"`
	Disk     uint64        `json:"disk_bytes"`
	Free     uint64        `json:"disk_free_bytes"`
	Problems []string      `json:"problems,omitempty"`
	Stages   []stageStatus `json:"stages,omitempty"` // of the last minute
}

type topLedger struct {
	Origin  string  `json:"origin"`
	Program string  `json:"program"`
	Leader  string  `json:"leader,omitempty"`
	Rate    float64 `json:"entries_per_second"`
	Size    uint64  `json:"size"`
	Lag     uint64  `json:"unsealed"`
	Queued  uint64  `json:"queued_requests"`
}

// snapshot compares two samples. Rates are 0 for what is in one of them only.
func snapshot(before, now topSample) topSnapshot {
	s := topSnapshot{Time: now.at.UTC().Format(time.RFC3339)}
	seconds := now.at.Sub(before.at).Seconds()
	rate := func(old, size uint64, known bool) float64 {
		if !known || size <= old || seconds <= 0 {
			return 0
		}
		return float64(size-old) / seconds
	}
	sizes := func(a topAnswer) map[string]uint64 {
		all := map[string]uint64{}
		for _, l := range a.GetLedgers() {
			all[l.Origin] = l.Size
		}
		return all
	}
	largest := map[string]uint64{} // before, by origin
	old := map[string]map[string]uint64{}
	for _, a := range before.nodes {
		if a.StatusResponse != nil {
			old[a.name] = sizes(a)
			for origin, size := range old[a.name] {
				largest[origin] = max(largest[origin], size)
			}
		}
	}
	ledgers := map[string]*topLedger{}
	for _, a := range now.nodes {
		n := topNode{Node: a.name, Error: a.err}
		if r := a.StatusResponse; r != nil {
			n.Role, n.Term, n.Sealed, n.Lag = r.Role, r.Term, r.SealedSize, r.Size-min(r.Size, r.SealedSize)
			n.Memory, n.Disk, n.Free, n.Problems = r.MemoryBytes, r.WalBytes+r.StoreBytes, r.DiskFreeBytes, r.Problems
			n.Stages = stagesOf(a.name, r, true)
		}
		for _, l := range a.GetLedgers() {
			was, known := old[a.name][l.Origin]
			n.Rate += rate(was, l.Size, known)
			n.Queued += l.QueuedRequests
			t := ledgers[l.Origin]
			if t == nil {
				t = &topLedger{Origin: l.Origin, Program: l.Program, Lag: l.Size - min(l.Size, l.SealedSize)}
				ledgers[l.Origin] = t
			}
			t.Leader = cmp.Or(t.Leader, l.Leader)
			t.Size = max(t.Size, l.Size)
			t.Lag = min(t.Lag, l.Size-min(l.Size, l.SealedSize))
			t.Queued += l.QueuedRequests
		}
		s.Nodes = append(s.Nodes, n)
	}
	for origin, t := range ledgers {
		was, known := largest[origin]
		t.Rate = rate(was, t.Size, known)
		s.Rate += t.Rate
		s.Ledgers = append(s.Ledgers, *t)
	}
	sortLedgers(s.Ledgers, topSorts[0])
	return s
}

// topSorts are the orders of the ledgers.
var topSorts = []string{"rate", "size", "unsealed", "queue", "name"}

func sortLedgers(all []topLedger, by string) {
	slices.SortFunc(all, func(a, b topLedger) int {
		order := 0
		switch by {
		case "rate":
			order = cmp.Compare(b.Rate, a.Rate)
		case "size":
			order = cmp.Compare(b.Size, a.Size)
		case "unsealed":
			order = cmp.Compare(b.Lag, a.Lag)
		case "queue":
			order = cmp.Compare(b.Queued, a.Queued)
		}
		return cmp.Or(order, strings.Compare(a.Origin, b.Origin))
	})
}

// topModel is the state of the screen. It has no clock and no I/O.
type topModel struct {
	shown  topSnapshot
	last   topSample
	sort   int
	paused bool
	quit   bool
}

// key reacts to a key: q ends, s sorts by the next column, p and the space bar pause.
func (m *topModel) key(k byte) {
	switch k {
	case 'q', 3: // 3 is Ctrl-C, which a raw terminal delivers as a key
		m.quit = true
	case 's':
		m.sort = (m.sort + 1) % len(topSorts)
	case 'p', ' ':
		m.paused = !m.paused
	}
}

// sample takes what the nodes answered. While paused the screen stays.
func (m *topModel) sample(s topSample) {
	if !m.paused {
		m.shown = snapshot(m.last, s)
	}
	m.last = s
}

// view draws the screen: at most height lines of at most width columns; 0 is any number.
func (m *topModel) view(width, height int) []string {
	s := m.shown
	answered := 0
	for _, n := range s.Nodes {
		if n.Error == "" {
			answered++
		}
	}
	p := newPage(screen{})
	state, clock := "q quit, s sort, p pause", s.Time[max(0, len(s.Time)-len("03:04:05Z")):]
	if m.paused {
		state = "PAUSED: p goes on"
	}
	fmt.Fprintf(p, "cairn top  %s  %d of %s  %s entries/s  %s\n\n", clock, answered, plural(len(s.Nodes), "node", "nodes"), count(s.Rate), state)
	nodes := newTable("node", "role", "term", "entry/s", "sealed", "lag", "queue", "mem", "disk", "free", "health").alignRight(2, 3, 4, 5, 6, 7, 8, 9)
	for _, n := range s.Nodes {
		if n.Error != "" {
			nodes.row(n.Node, "-", "-", "-", "-", "-", "-", "-", "-", "-", "no answer")
			continue
		}
		health := "ok"
		if len(n.Problems) > 0 {
			health = "PROBLEM"
		}
		nodes.row(n.Node, n.Role, fmt.Sprint(n.Term), count(n.Rate), count(n.Sealed), count(n.Lag), count(n.Queued), shortBytes(n.Memory), shortBytes(n.Disk), shortBytes(n.Free), health)
	}
	nodes.write(p)
	for _, n := range s.Nodes {
		for _, problem := range n.Problems {
			fmt.Fprintf(p, "%s: %s\n", n.Node, problem)
		}
	}
	fmt.Fprintln(p)
	m.stages(p, width)
	fmt.Fprintln(p)
	all := slices.Clone(s.Ledgers)
	sortLedgers(all, topSorts[m.sort])
	t := newTable("ledger, by "+topSorts[m.sort], "program", "leader", "entry/s", "size", "lag", "queue").alignRight(3, 4, 5, 6)
	for _, l := range all {
		t.row(printable(l.Origin), printable(l.Program), l.Leader, count(l.Rate), count(l.Size), count(l.Lag), count(l.Queued))
	}
	t.write(p)
	lines := strings.Split(strings.TrimRight(p.String(), "\n"), "\n")
	if height > 0 && len(lines) > height {
		lines = lines[:height]
	}
	for i, l := range lines {
		lines[i] = cutTo(l, width)
	}
	return lines
}

// stages draws p50 and p99 of each stage, of as many nodes as fit, those that lead first.
func (m *topModel) stages(p *page, width int) {
	var nodes []topNode
	for _, n := range m.shown.Nodes {
		if len(n.Stages) > 0 {
			nodes = append(nodes, n)
		}
	}
	slices.SortStableFunc(nodes, func(a, b topNode) int {
		return cmp.Compare(b2i(b.Role == "leader"), b2i(a.Role == "leader"))
	})
	if most := (width - 9) / 22; width > 0 && len(nodes) > most {
		nodes = nodes[:max(most, 1)]
	}
	header := []string{"last min."}
	right := []int{}
	for i, n := range nodes {
		header = append(header, n.Node+" p50", "p99")
		right = append(right, 2*i+1, 2*i+2)
	}
	if len(nodes) == 0 {
		return
	}
	t := newTable(header...).alignRight(right...)
	for i, stage := range nodes[0].Stages {
		row := []string{stage.Stage}
		for _, n := range nodes {
			cell := []string{"-", "-"}
			if i < len(n.Stages) && n.Stages[i].stageLatency != nil {
				cell = []string{latencyString(time.Duration(n.Stages[i].P50)), latencyString(time.Duration(n.Stages[i].P99))}
			}
			row = append(row, cell...)
		}
		t.row(row...)
	}
	t.write(p)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// cutTo leaves out what lies beyond a number of columns; 0 is any number.
func cutTo(line string, width int) string {
	for width > 0 && columns(line) > width {
		r := []rune(line)
		line = string(r[:len(r)-1])
	}
	return line
}

// shortBytes writes a number of bytes with at most four characters and a unit.
func shortBytes(n uint64) string {
	v, unit := float64(n), 0
	for v >= 1000 && unit < 5 {
		v, unit = v/1024, unit+1
	}
	if unit > 0 && v < 10 {
		return fmt.Sprintf("%.1f%c", v, "BKMGTP"[unit])
	}
	return fmt.Sprintf("%.0f%c", v, "BKMGTP"[unit])
}
