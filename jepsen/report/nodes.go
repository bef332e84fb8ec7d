package report

import "fmt"

// roles that have a colour of their own.
var roles = []string{"leader", "follower", "candidate", "learner", "down"}

func roleClass(role string) string {
	switch role {
	case "pre-candidate":
		return "candidate"
	case "leader", "follower", "candidate", "learner", "down":
		return role
	}
	return "unknown"
}

const (
	nodeHeight = 46
	nodeGap    = 10
	roleHeight = 15
	maxPoints  = 600 // of a node's commit curve
	labelSpace = 26  // a term's number is written where it has this much room
)

// nodes draws for every node a bar with its role and term, and above it how far
// it knew the log to be committed, with the farthest of all nodes behind it.
func (t *timeline) nodes() chart {
	c := chart{ID: "nodes", Title: "Nodes", Note: "bar: role, with the term; line: Raft commit index, grey: the highest of all nodes"}
	high := uint64(1)
	used := map[string]bool{}
	for _, n := range t.run.Nodes {
		for _, s := range n.Samples {
			high = max(high, s.Commit)
			used[roleClass(s.Role)] = true
		}
	}
	best := t.bestCommit()
	var d drawing
	var bars = map[string]*pathData{}
	var own, all, terms pathData
	for i, n := range t.run.Nodes {
		top := float64(i * (nodeHeight + nodeGap))
		v := valueScale{high: float64(high), height: nodeHeight - roleHeight - 4}
		for col, commit := range best {
			all.curve(plotWidth*float64(col)/maxPoints, top+2+v.y(float64(commit)))
		}
		all.lift()
		label := row{Top: px(top), Height: px(nodeHeight), Text: clip(n.Node, 40)}
		if len(n.Samples) > 0 {
			last := n.Samples[len(n.Samples)-1]
			label.Sub = fmt.Sprintf("term %d", last.Term)
		}
		c.Rows = append(c.Rows, label)

		periods := t.periods(n.Samples)
		for k, s := range periods {
			until := t.m.Duration
			if k+1 < len(periods) {
				until = periods[k+1].At
			}
			x1, x2 := t.scale.x(s.At), t.scale.x(until)
			class := roleClass(s.Role)
			if bars[class] == nil {
				bars[class] = new(pathData)
			}
			barTop := top + nodeHeight - roleHeight
			bars[class].rect(x1, barTop, max(x2, x1+0.5), barTop+roleHeight)
			if k > 0 && periods[k-1].Term != s.Term {
				terms.line(x1, barTop, x1, barTop+roleHeight)
			}
			if x2-x1 >= labelSpace && s.Term > 0 && class != "down" {
				c.Marks = append(c.Marks, mark{
					Left: percent(x1 / plotWidth), Width: percent((x2 - x1) / plotWidth), Top: px(barTop), Class: "term " + class,
					Text: fmt.Sprint(s.Term), Hint: fmt.Sprintf("term %d, %s", s.Term, clip(s.Role, 40)),
				})
			}
		}
		lastColumn := -1
		for _, s := range n.Samples {
			if s.Role == "down" {
				own.lift()
				continue
			}
			x := t.scale.x(s.At)
			if col := int(x * maxPoints / plotWidth); col != lastColumn {
				own.curve(x, top+2+v.y(float64(s.Commit)))
				lastColumn = col
			}
		}
		own.lift()
	}
	c.Height = max(len(t.run.Nodes)*(nodeHeight+nodeGap)-nodeGap, nodeHeight)
	t.bands(&d, float64(c.Height))
	d.path("curve commit-all", &all)
	d.path("curve commit", &own)
	for _, class := range append(roles, "unknown") {
		if bars[class] != nil {
			d.path("role "+class, bars[class])
		}
		if used[class] {
			c.Legend = append(c.Legend, key{"role " + class, "box", class})
		}
	}
	d.path("termline", &terms)
	c.Drawing = d.html()
	return c
}

// periods returns the samples at which the role or the term changed. Of the many
// changes that would share a pixel the first and the last are kept.
func (t *timeline) periods(samples []Sample) []Sample {
	var out []Sample
	column, inColumn := -1, 0
	for k, s := range samples {
		if k > 0 && s.Term == samples[k-1].Term && roleClass(s.Role) == roleClass(samples[k-1].Role) {
			continue
		}
		if col := int(t.scale.x(s.At)); col != column {
			column, inColumn = col, 0
		}
		if inColumn++; inColumn > 2 {
			out[len(out)-1] = s
			continue
		}
		out = append(out, s)
	}
	return out
}

// bestCommit is the highest commit index that any node had named by each of maxPoints+1 moments.
func (t *timeline) bestCommit() []uint64 {
	best := make([]uint64, maxPoints+1)
	for _, n := range t.run.Nodes {
		for _, s := range n.Samples {
			col := int(t.scale.x(s.At) * maxPoints / plotWidth)
			best[col] = max(best[col], s.Commit)
		}
	}
	for i := 1; i < len(best); i++ {
		best[i] = max(best[i], best[i-1])
	}
	return best
}
