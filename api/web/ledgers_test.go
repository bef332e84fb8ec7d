package web_test

import (
	"strings"
	"testing"

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
