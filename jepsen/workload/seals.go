package workload

import "sync"

// seals counts the appends that were asked for from some moment on and that waited for
// their receipts, and those of them that got them.
type seals struct {
	mu         sync.Mutex
	from       int64 // on the history's clock
	asked, got int64
}

// waited notes an append that was acknowledged after it had waited.
func (s *seals) waited(call int64, receipt bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if call < s.from {
		return
	}
	if s.asked++; receipt {
		s.got++
	}
}

// CountSeals counts anew, appends that are asked for from now on.
func (w *Workload) CountSeals() {
	w.seals.mu.Lock()
	defer w.seals.mu.Unlock()
	w.seals.from, w.seals.asked, w.seals.got = w.now(), 0, 0
}

// Seals returns how many appends have waited for their receipts, and how many got them.
func (w *Workload) Seals() (waited, sealed int64) {
	w.seals.mu.Lock()
	defer w.seals.mu.Unlock()
	return w.seals.asked, w.seals.got
}
