package workload

import "time"

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
