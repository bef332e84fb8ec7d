package workload

import (
	"slices"
	"time"

	"github.com/cairnledger/cairn/jepsen/history"
)

// Options say how much of what. Zero values mean the defaults.
type Options struct {
	Seed uint64
	// Clients are those that speak to the nodes directly; default 16.
	Clients int
	// Library are those that use the client library; default 2, negative: none.
	Library int
	// Watchers follow the whole ledger; default 2, negative: none.
	Watchers int
	// Rate is how many operations a second all clients together issue; 0: as many
	// as they can.
	Rate float64
	// Timeout bounds one operation; default 3 s.
	Timeout time.Duration
	// Batch is how many entries an append has at most, most of the time; default 8.
	Batch int
	// Payload is how many bytes a payload has at most, most of the time; default 200.
	Payload int
	// Readable says whether a node could read its disk all the time since a moment. If
	// not, it may say that it cannot. Nil: every node always could.
	Readable func(node int, since time.Time) bool
}

// Kinds are the operations that these clients ask for.
func (o Options) Kinds() []history.Kind {
	o.fill()
	return slices.DeleteFunc(history.Kinds(), func(k history.Kind) bool {
		switch k {
		case history.Watch:
			return o.Watchers == 0
		case history.Range:
			return o.Clients == 0 // the others have no use for it
		}
		return o.Clients+o.Library == 0
	})
}

func (o *Options) fill() {
	preset := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
		*v = max(*v, 0)
	}
	preset(&o.Clients, 16)
	preset(&o.Library, 2)
	preset(&o.Watchers, 2)
	preset(&o.Batch, 8)
	preset(&o.Payload, 200)
	if o.Timeout <= 0 {
		o.Timeout = 3 * time.Second
	}
}
