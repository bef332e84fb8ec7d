package web_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/web"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
)

// named is a ledger under another name. Its files say which one it is.
type named struct {
	*ledger.Ledger
	origin string
	sealed *ledger.Sealed
}

func (n named) Origin() string         { return n.origin }
func (n named) Sealed() *ledger.Sealed { return n.sealed }
func (n named) Tile(uint8, uint64, int) ([]byte, error) {
	return []byte("tile of " + n.origin), nil
}
func (n named) EntryBundle(uint64, int) ([]byte, error) {
	return []byte("entries of " + n.origin), nil
}

// TestEachLedgerUnderItsOrigin: a path leads to the ledger that it begins with, also where the
// names of ledgers look like files, like one another or like other pages.
func TestEachLedgerUnderItsOrigin(t *testing.T) {
	l := newLedger(t)
	origins := []string{
		"example.org/web", "example.org/web2", "example.org", "example.org/web/tile/0", "tile/0/000", "tile", "checkpoint", "a/checkpoint",
		"a/checkpoint/checkpoint", "a/tile/entries", "a/tile/b/tile/c", "livez", "metrics", strings.Repeat("x", 200),
	}
	var ledgers []web.Ledger
	for _, o := range origins {
		ledgers = append(ledgers, named{l, o, &ledger.Sealed{Size: 520, Note: []byte("note of " + o)}})
	}
	s := serve(t, hosting(ledgers...))
	for _, o := range origins {
		for path, want := range map[string]string{
			"/checkpoint": "note of ", "/tile/0/000": "tile of ", "/tile/0/002.p/8": "tile of ", "/tile/entries/001": "entries of ",
		} {
			if resp, body := request(t, s, "GET", "/"+o+path); resp.StatusCode != 200 || body != want+o {
				t.Errorf("%s of %s: %d %q", path, o, resp.StatusCode, body)
			}
		}
	}
	most := "/" + strings.Repeat("x", 200) + "/" + merkle.TilePath(0, merkle.MaxSize/256-1, 255)
	if resp, body := request(t, s, "GET", most); resp.StatusCode != 404 {
		t.Errorf("the longest path of a file: %d %q, want 404", resp.StatusCode, body)
	}
	for _, path := range []string{"/checkpoint", "/tile/0/001", "/tile/entries/000", "/example.com/checkpoint", "/example.org/tile/x/tile/0/000", "/example.org/web", "/x"} {
		if resp, body := request(t, s, "GET", path); resp.StatusCode != 404 || !strings.Contains(body, "; / lists its ledgers") {
			t.Errorf("%s: %d %q, want 404 with the place of the listing", path, resp.StatusCode, body)
		}
	}
}

// TestListing: every ledger with its program and sizes, sorted by origin.
func TestListing(t *testing.T) {
	l := newLedger(t)
	s := serve(t, hosting(named{l, "b.example", nil}, named{l, "a.example/z", &ledger.Sealed{Size: 520}}, l))
	const want = `[{"origin":"a.example/z","program":"log","size":600,"sealed_size":520,"base":"/a.example/z"},` +
		`{"origin":"b.example","program":"log","size":600,"sealed_size":0,"base":"/b.example"},` +
		`{"origin":"example.org/web","program":"log","size":600,"sealed_size":520,"base":"/example.org/web"}]` + "\n"
	resp, body := request(t, s, "GET", "/")
	if resp.StatusCode != 200 || body != want || resp.ContentLength != int64(len(want)) {
		t.Errorf("got %d, %d bytes\n%s\nwant\n%s", resp.StatusCode, resp.ContentLength, body, want)
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-cache", "Access-Control-Allow-Origin": "*"} {
		if got := resp.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if _, body := request(t, serve(t, hosting()), "GET", "/"); body != "[]\n" {
		t.Errorf("a node without ledgers: %q", body)
	}
}

// TestLedgerThatIsNotKnownYet: as long as the node may come to host a ledger, it does not say that
// there is none, and says when to ask again. A path that can name no ledger is 404 all the same.
func TestLedgerThatIsNotKnownYet(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	cfg := hosting(l)
	var why atomic.Pointer[error]
	begun := errors.New("the ledgers of 1 are begun")
	why.Store(&begun)
	cfg.Learning = func() error { return *why.Load() }
	s := serve(t, cfg)
	for _, path := range []string{"/example.org/young/checkpoint", "/example.org/young/tile/0/000", "/example.org/young/tile/entries/000"} {
		resp, body := request(t, s, "GET", path)
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || resp.Header.Get("Cache-Control") != "no-store" || !strings.Contains(body, begun.Error()) {
			t.Errorf("%s: %d %v %q, want 503 with Retry-After and the reason", path, resp.StatusCode, resp.Header, body)
		}
	}
	if resp, _ := request(t, s, "GET", "/example.org/web/checkpoint"); resp.StatusCode != 200 {
		t.Errorf("a ledger that is known: %d", resp.StatusCode)
	}
	if resp, _ := request(t, s, "GET", "/favicon.ico"); resp.StatusCode != 404 {
		t.Errorf("no file of a ledger: %d, want 404", resp.StatusCode)
	}
	var none error
	why.Store(&none)
	if resp, _ := request(t, s, "GET", "/example.org/young/checkpoint"); resp.StatusCode != 404 || resp.Header.Get("Retry-After") != "" {
		t.Errorf("all is learnt: %d %v, want 404", resp.StatusCode, resp.Header)
	}
}

// TestLedgerThatIsLearntMeanwhile: a ledger that the node begins between the look for it and the
// question whether there may be others is served.
func TestLedgerThatIsLearntMeanwhile(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	var begun atomic.Bool
	cfg := web.Config{
		Ledger:   func(string) (web.Ledger, bool) { return l, begun.Load() },
		Learning: func() error { begun.Store(true); return nil },
		Ledgers:  func() []web.Ledger { return nil },
	}
	if resp, body := request(t, serve(t, cfg), "GET", "/example.org/web/checkpoint"); resp.StatusCode != 200 {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}
