package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// deadlines is a ResponseWriter that remembers what it was told.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

// SetWriteDeadline is for http.ResponseController.
func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// TestDeadlineMovesWithProgress: a bundle of 16 MiB at 200 kB/s takes 84 s. Every piece of it has a
// deadline that such a reader meets, and one that does not read is cut after grace.
func TestDeadlineMovesWithProgress(t *testing.T) {
	const size, rate = 16 << 20, 200_000
	d := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	p := paced(&answer{ResponseWriter: d})
	if n, err := p.Write(make([]byte, size)); n != size || err != nil {
		t.Fatal(n, err)
	}
	if len(d.set) != size/pieceBytes {
		t.Fatalf("%d deadlines for %d pieces", len(d.set), size/pieceBytes)
	}
	for i, at := range d.set {
		read := time.Duration((i+1)*pieceBytes) * time.Second / rate
		if left := at.Sub(p.start); left < read {
			t.Fatalf("piece %d must have been read after %v, at %d bytes a second that takes %v", i, left, rate, read)
		}
	}
	if first := d.set[0].Sub(p.start); first > grace+time.Second {
		t.Errorf("a client that does not read holds its turn for %v", first)
	}
	if last := d.set[len(d.set)-1].Sub(p.start); last > grace+size*time.Second/minRate {
		t.Errorf("the whole bundle may take %v", last)
	}
}

// TestRequestsAreReported: what an access log gets to hear about an answer.
func TestRequestsAreReported(t *testing.T) {
	var got []Request
	h := Handler(Config{
		Ledger: func(string) (Ledger, bool) { return nil, true },
		Ready:  func() error { return http.ErrServerClosed },
		Access: func(r Request) { got = append(got, r) },
	})
	for _, c := range []struct {
		method, path string
		status       int
		refused      bool
	}{
		{"GET", "/livez", 200, false}, {"GET", "/readyz", 503, false}, {"POST", "/livez", 405, true},
		{"GET", "/example.org/web/tile/x", 400, true}, {"GET", "/nothing", 404, false}, {"GET", "//", 400, true},
	} {
		got = nil
		r := httptest.NewRequest(c.method, "http://n"+c.path, nil)
		r.RemoteAddr = "192.0.2.7:1234"
		h.ServeHTTP(httptest.NewRecorder(), r)
		if len(got) != 1 {
			t.Fatalf("%s %s: %d reports", c.method, c.path, len(got))
		}
		if g := got[0]; g.Method != c.method || g.Path != c.path || g.Status != c.status || g.Refused != c.refused || g.Remote != "192.0.2.7:1234" || g.Refused && g.Why == "" {
			t.Errorf("%s %s: %+v", c.method, c.path, g)
		}
	}
}
