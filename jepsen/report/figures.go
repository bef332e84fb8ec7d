package report

import (
	"slices"
	"time"

	"github.com/cairnledger/cairn/jepsen/history"
)

// Figures are the numbers of a run. Measure computes them; the page shows them.
type Figures struct {
	// Duration from the start to the end, at least up to the last moment named.
	Duration time.Duration
	// Ops counts all operations by outcome.
	Ops, OK, Failed, Unknown int
	Appends, Reads           KindFigures
	// Entries that acknowledged appends added, without duplicates.
	Entries   int
	Fates     [NumFates]int
	FinalSize int
	// Gaps has one element per fault, in the order of Run.Faults.
	Gaps []Gap
}

// KindFigures describe appends, or linearizable reads: get, head and range.
type KindFigures struct {
	Count, OK, Failed, Unknown int
	// Rate is acknowledged operations per second, over the whole run.
	Rate float64
	// Latency of the acknowledged ones; each quantile up to 1.6 % too high, Max exact.
	P50, P95, P99, Max time.Duration
	// Quiet is the longest time without an acknowledgement while there was load:
	// between the first call and the last call or answer.
	Quiet time.Duration
	// Slots counts the slots of 100 ms with load by what the clients experienced in them.
	Slots [NumSlots]int
}

// Gap is the longest time without an acknowledgement that has to do with a fault:
// that overlaps the time from its start to its end, and on to the next fault's
// start, but not longer than recoveryTime. A gap is counted whole, even if it began earlier or
// ended later.
type Gap struct{ Write, Read time.Duration }

// recoveryTime is how long after its end a fault is held responsible for a gap.
const recoveryTime = 10 * time.Second

// SlotLength is the resolution of the availability strip.
const SlotLength = 100 * time.Millisecond

// Slot is what clients experienced in one slot.
type Slot uint8

// The states of a slot.
const (
	// SlotNothing: nothing was answered, not even with a failure.
	SlotNothing Slot = iota
	// SlotFailing: operations failed or went unanswered, and none succeeded.
	SlotFailing
	// SlotOK: at least one operation was answered. A conflict and a size mismatch are answers.
	SlotOK
	// NumSlots is the number of states.
	NumSlots
)

// measured is what one pass over the history leaves.
type measured struct {
	Figures
	fates          []Fate
	appends, reads kindData
	buckets        buckets
}

// kindData is the raw material of the figures of appends or reads.
type kindData struct {
	latency histogram
	acks    []int64 // moments of acknowledgement, sorted
	// Load lasts from the earliest call, -1 if none, to the last call or answer.
	first, last int64
	slots       []Slot
	series      []bucket
}

// isRead: the reads that must be linearizable, and so tell about availability.
func isRead(k history.Kind) bool {
	return k == history.Get || k == history.Head || k == history.Range
}

// Measure computes the figures of a run.
func Measure(run Run) Figures { return measure(&run).Figures }

func measure(run *Run) *measured {
	m := &measured{fates: fates(run.Ops, run.Final)}
	m.Duration = runDuration(run)
	m.FinalSize = len(run.Final)
	m.buckets = newBuckets(m.Duration, len(run.Ops))
	for _, k := range []*kindData{&m.appends, &m.reads} {
		k.first = -1
		k.slots = make([]Slot, min(int64(m.Duration/SlotLength)+1, maxSlots))
		k.series = make([]bucket, m.buckets.n)
	}
	for i := range run.Ops {
		op := &run.Ops[i]
		m.Ops++
		switch op.Outcome {
		case history.OK:
			m.OK++
		case history.Fail:
			m.Failed++
		default:
			m.Unknown++
		}
		if f := m.fates[i]; f < NumFates {
			m.Fates[f]++
		}
		late := run.LoadEnd > 0 && op.Call > int64(run.LoadEnd)
		switch {
		case op.Kind == history.Append:
			if op.Outcome == history.OK {
				for k := range op.Entries {
					if !op.Entries[k].Duplicate {
						m.Entries++
					}
				}
			}
			if !late {
				m.add(&m.appends, &m.Appends, op)
			}
		case isRead(op.Kind) && !late:
			m.add(&m.reads, &m.Reads, op)
		}
	}
	m.finish(&m.appends, &m.Appends)
	m.finish(&m.reads, &m.Reads)
	m.Gaps = make([]Gap, len(run.Faults))
	for i, f := range run.Faults {
		until := recoveryEnd(run.Faults, i)
		m.Gaps[i] = Gap{
			Write: m.appends.longestGap(f.Start, until),
			Read:  m.reads.longestGap(f.Start, until),
		}
	}
	return m
}

// maxSlots bounds the availability strip: more than eleven days.
const maxSlots = 10_000_000

func (m *measured) add(k *kindData, f *KindFigures, op *history.Op) {
	f.Count++
	if k.first < 0 || op.Call < k.first {
		k.first = max(op.Call, 0)
	}
	k.last = max(k.last, op.Call)
	if op.Return != history.Never {
		k.last = max(k.last, op.Return)
	}
	state, at := SlotFailing, op.Call
	switch op.Outcome {
	case history.OK:
		f.OK++
		state, at = SlotOK, op.Return
		k.latency.add(op.Return - op.Call)
		k.acks = append(k.acks, op.Return)
	case history.Fail:
		f.Failed++
		at = op.Return
		if op.Reason == history.Conflict || op.Reason == history.SizeMismatch {
			state = SlotOK
		}
	default:
		f.Unknown++
	}
	if s := min(max(at, 0)/int64(SlotLength), int64(len(k.slots)-1)); k.slots[s] < state {
		k.slots[s] = state
	}
	k.series[m.buckets.of(at)].add(op)
}

func (m *measured) finish(k *kindData, f *KindFigures) {
	slices.Sort(k.acks)
	f.P50, f.P95, f.P99 = time.Duration(k.latency.quantile(0.5)), time.Duration(k.latency.quantile(0.95)), time.Duration(k.latency.quantile(0.99))
	f.Max = time.Duration(k.latency.max)
	if s := m.Duration.Seconds(); s > 0 {
		f.Rate = float64(f.OK) / s
	}
	f.Quiet = k.longestGap(0, m.Duration)
	for _, s := range k.load() {
		f.Slots[s]++
	}
}

// runDuration: until End, but never less than what was recorded.
func runDuration(run *Run) time.Duration {
	last := int64(0)
	if !run.End.IsZero() && !run.Start.IsZero() {
		last = int64(run.End.Sub(run.Start))
	}
	for i := range run.Ops {
		last = max(last, run.Ops[i].Call)
		if run.Ops[i].Return != history.Never {
			last = max(last, run.Ops[i].Return)
		}
	}
	for _, f := range run.Faults {
		last = max(last, int64(f.End))
	}
	for _, n := range run.Nodes {
		if len(n.Samples) > 0 {
			last = max(last, int64(n.Samples[len(n.Samples)-1].At))
		}
	}
	return time.Duration(max(last, int64(time.Millisecond)))
}

func recoveryEnd(faults []Fault, i int) time.Duration {
	end := faults[i].End + recoveryTime
	for k := range faults {
		if s := faults[k].Start; k != i && s >= faults[i].End && s > faults[i].Start {
			end = min(end, s)
		}
	}
	return end
}

// firstSlot is the first slot with load.
func (k *kindData) firstSlot() int {
	return int(min(max(k.first, 0)/int64(SlotLength), int64(len(k.slots)-1)))
}

// load are the slots with load.
func (k *kindData) load() []Slot {
	if k.first < 0 {
		return nil
	}
	end := min(k.last/int64(SlotLength)+1, int64(len(k.slots)))
	return k.slots[k.firstSlot():max(end, int64(k.firstSlot()+1))]
}

// longestGap returns the longest time without an acknowledgement that overlaps
// [from, to]. Without load there is no gap: its beginning and end bound the outermost ones.
func (k *kindData) longestGap(from, to time.Duration) time.Duration {
	if k.first < 0 {
		return 0
	}
	i, _ := slices.BinarySearch(k.acks, int64(from))
	longest, last := int64(0), k.first
	if i > 0 {
		last = max(k.acks[i-1], k.first)
	}
	for ; last <= int64(to) && i <= len(k.acks); i++ {
		next := max(k.last, last)
		if i < len(k.acks) {
			next = k.acks[i]
		}
		if next >= int64(from) {
			longest = max(longest, next-last)
		}
		last = next
	}
	return time.Duration(longest)
}
