package web_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/web"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
)

// base is where the ledger of newLedger is served.
const base = "/example.org/web"

// hosting is a node with these ledgers.
func hosting(ledgers ...web.Ledger) web.Config {
	return web.Config{
		Ledger: func(origin string) (web.Ledger, bool) {
			for _, l := range ledgers {
				if l.Origin() == origin {
					return l, true
				}
			}
			return nil, false
		},
		Ledgers: func() []web.Ledger { return slices.Clone(ledgers) },
	}
}

// newLedger returns a ledger of 600 entries of which 520 are sealed.
func newLedger(t testing.TB) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: "example.org/web"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for raft, n := range []int{300, 220, 80} {
		b := ledger.Batch{Principal: "spiffe://example.org/svc/w"}
		for i := range n {
			b.Entries = append(b.Entries, ledger.NewEntry{Kind: ledger.KindPayload, Body: fmt.Append(nil, l.Head().Size+uint64(i))})
		}
		h := l.Head()
		block, err := ledger.EncodeBlock(ledger.Anchor{Size: h.Size, Root: h.Root}, 1, []ledger.Batch{b})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.ApplyMany([]ledger.Committed{{RaftIndex: uint64(raft + 1), RaftTerm: 1, Block: block}}); err != nil {
			t.Fatal(err)
		}
		if raft == 1 {
			h := l.Head()
			if err := l.SetSealed(&ledger.Sealed{Size: h.Size, Root: h.Root, Note: []byte("the note\n")}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return l
}

func serve(t testing.TB, cfg web.Config) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.Config = web.NewServer(web.Handler(cfg))
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func request(t testing.TB, s *httptest.Server, method, path string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestCheckpoint(t *testing.T) {
	s := serve(t, hosting(newLedger(t)))
	resp, body := request(t, s, "GET", base+"/checkpoint")
	if resp.StatusCode != 200 || body != "the note\n" || resp.Header.Get("Content-Type") != "text/plain; charset=utf-8" || resp.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("got %d %q, %v", resp.StatusCode, body, resp.Header)
	}
	empty, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: "example.org/web"})
	if err != nil {
		t.Fatal(err)
	}
	s = serve(t, hosting(empty))
	for _, path := range []string{"/checkpoint", "/tile/0/000.p/1", "/tile/entries/000.p/1"} {
		if resp, _ := request(t, s, "GET", base+path); resp.StatusCode != 404 {
			t.Errorf("%s of a ledger that is not sealed: %d", path, resp.StatusCode)
		}
	}
	if resp, _ := request(t, s, "GET", base+"/checkpoint"); resp.Header.Get(cairnv1.SizeHeader) != "0" {
		t.Errorf("the answer of an empty ledger does not say so: %v", resp.Header)
	}
}

// TestTiles: of 600 entries 520 are sealed: two full tiles, one of 8, and above them one of 2.
func TestTiles(t *testing.T) {
	l := newLedger(t)
	s := serve(t, hosting(l))
	cases := map[string]int{
		"/tile/0/000": 200, "/tile/0/001": 200, "/tile/0/002.p/8": 200, "/tile/1/000.p/2": 200,
		"/tile/0/000.p/1": 200, "/tile/0/000.p/255": 200, "/tile/0/002.p/1": 200, "/tile/1/000.p/1": 200,
		"/tile/entries/000": 200, "/tile/entries/001.p/17": 200, "/tile/entries/002.p/8": 200,
		// Not sealed, or not there.
		"/tile/0/002": 404, "/tile/0/002.p/9": 404, "/tile/0/002.p/88": 404, "/tile/1/000.p/3": 404, "/tile/1/000": 404, "/tile/2/000.p/1": 404,
		"/tile/0/003.p/1": 404, "/tile/0/x001/000": 404, "/tile/entries/002.p/9": 404, "/tile/entries/002": 404, "/tile/entries/003.p/1": 404,
		"/tile/63/000.p/1": 404,
		// Nothing that could be.
		"/tile/64/000": 400, "/tile/-1/000": 400, "/tile/0/0": 400, "/tile/0/0000": 400, "/tile/0/x000/000": 400, "/tile/0/000.p/0": 400,
		"/tile/0/000.p/256": 400, "/tile/0/000.p/01": 400, "/tile/0/000.p/-1": 400, "/tile/0/000/": 400, "/tile/0": 400, "/tile/": 400,
		"/tile/0/+00": 400, "/tile/00/000": 400, "/tile/0/000.p/1/2": 400, "/tile/entries/x999/x999/x999/x999/x999/x999/x999/999": 400,
		"/tile//0/000": 400, "/tile/0/../0/000": 400, "/tile/0%2F000": 400, "/tile/%30/000": 400, "/tile/0/" + strings.Repeat("x001/", 100) + "001": 400,
		"/": 404, "/tiles": 404, "/metrics": 404, "": 404,
	}
	for path, want := range cases {
		resp, body := request(t, s, "GET", base+path)
		if resp.StatusCode != want {
			t.Errorf("%s: got %d %q, want %d", path, resp.StatusCode, body, want)
			continue
		}
		cached := resp.Header.Get("Cache-Control")
		if want == 200 && (resp.Header.Get("Content-Type") != "application/octet-stream" || cached != "public, max-age=31536000, immutable") {
			t.Errorf("%s: %v", path, resp.Header)
		}
		if want != 200 && strings.Contains(cached, "immutable") {
			t.Errorf("%s: a failure is cached: %v", path, cached)
		}
		if want != 200 {
			continue
		}
		kind, level, index, width, err := merkle.ParseTilePath(path[1:])
		if err != nil {
			t.Fatal(err)
		}
		if kind == merkle.EntryBundle {
			leaves, err := merkle.ParseEntryBundle([]byte(body), width)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			e, err := ledger.ParseLeaf(leaves[0])
			if err != nil || string(e.Body) != fmt.Sprint(index*256) {
				t.Errorf("%s: the first entry is %q, %v", path, e.Body, err)
			}
		} else if raw, err := l.Tile(level, index, width); err != nil || body != string(raw) || len(body) != 32*width {
			t.Errorf("%s: got %d bytes, %v", path, len(body), err)
		}
	}
}

func TestMethods(t *testing.T) {
	cfg := hosting(newLedger(t))
	cfg.Metrics = prometheus.NewRegistry()
	s := serve(t, cfg)
	for _, path := range []string{base + "/checkpoint", base + "/tile/0/000", base + "/tile/entries/000", "/", "/livez", "/readyz", "/metrics"} {
		resp, body := request(t, s, "HEAD", path)
		if resp.StatusCode != 200 || body != "" || resp.ContentLength <= 0 && path != "/metrics" {
			t.Errorf("HEAD %s: %d, %d bytes, length %d", path, resp.StatusCode, len(body), resp.ContentLength)
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
			if resp, _ := request(t, s, method, path); resp.StatusCode != 405 || resp.Header.Get("Allow") == "" {
				t.Errorf("%s %s: %d", method, path, resp.StatusCode)
			}
		}
	}
}

func TestProbesAndMetrics(t *testing.T) {
	var sick error
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "cairn_test", Help: "A test."}, func() float64 { return 7 }))
	cfg := hosting(newLedger(t))
	cfg.Ready, cfg.Metrics = func() error { return sick }, registry
	s := serve(t, cfg)
	for path, want := range map[string]string{"/livez": "ok\n", "/readyz": "ok\n", "/metrics": "# HELP cairn_test A test.\n# TYPE cairn_test gauge\ncairn_test 7\n"} {
		if resp, body := request(t, s, "GET", path); resp.StatusCode != 200 || body != want {
			t.Errorf("%s: %d %q", path, resp.StatusCode, body)
		}
	}
	sick = errors.New("no leader yet")
	if resp, body := request(t, s, "GET", "/readyz"); resp.StatusCode != 503 || !strings.Contains(body, "no leader yet") {
		t.Errorf("not ready: %d %q", resp.StatusCode, body)
	}
	if resp, _ := request(t, s, "GET", "/livez"); resp.StatusCode != 200 {
		t.Errorf("live while not ready: %d", resp.StatusCode)
	}
}

// damaged is a ledger whose copy is broken.
type damaged struct{ *ledger.Ledger }

func (damaged) Tile(uint8, uint64, int) ([]byte, error) {
	return nil, &ledger.CorruptError{What: "tile 0", Index: 0}
}

func TestCorruptTileIsNotServed(t *testing.T) {
	s := serve(t, hosting(damaged{newLedger(t)}))
	if resp, body := request(t, s, "GET", base+"/tile/0/000"); resp.StatusCode != 500 || strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("got %d %q, %v", resp.StatusCode, body, resp.Header)
	}
}

// slow is a ledger whose disk hangs until it is released.
type slow struct {
	*ledger.Ledger
	entered, released chan struct{}
}

func (s slow) Tile(level uint8, index uint64, width int) ([]byte, error) {
	s.entered <- struct{}{}
	<-s.released
	return s.Ledger.Tile(level, index, width)
}

// TestTooManyRequests: who gets no turn is told to come again, while everything that needs none is
// answered.
func TestTooManyRequests(t *testing.T) {
	l := slow{newLedger(t), make(chan struct{}), make(chan struct{})}
	h := web.Handler(hosting(l))
	from := func(address, path string) *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", path, nil)
		r.RemoteAddr = address + ":1"
		h.ServeHTTP(w, r)
		return w
	}
	get := func(path string) *httptest.ResponseRecorder { return from("192.0.2.3", path) }
	const turns = 64
	answers := make(chan int, turns)
	for i := range turns {
		// One client has half of the turns at most: it waits for more in vain, another one does
		// not.
		address := fmt.Sprintf("192.0.2.%d", 2*i/turns)
		if i == turns/2 {
			if w := from("192.0.2.0", base+"/tile/0/001"); w.Code != 503 {
				t.Errorf("more than the share of a client: %d", w.Code)
			}
		}
		go func() { answers <- from(address, base+"/tile/0/000").Code }()
		<-l.entered
	}
	if w := get(base + "/tile/0/001"); w.Code != 503 || w.Header().Get("Retry-After") == "" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("one more tile: %d, %v; want 503 with Retry-After", w.Code, w.Header())
	}
	for _, path := range []string{base + "/checkpoint", "/livez", base + "/tile/entries/000"} {
		if w := get(path); w.Code != 200 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	close(l.released)
	for range turns {
		if code := <-answers; code != 200 {
			t.Errorf("a tile that had its turn: %d", code)
		}
	}
}

// TestRanges: a download that broke off goes on where it stopped, and a cache asks whether it has
// the same bytes.
func TestRanges(t *testing.T) {
	s := serve(t, hosting(newLedger(t)))
	get := func(path string, header ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(body)
	}
	for _, path := range []string{base + "/tile/0/000", base + "/tile/entries/000"} {
		whole, all := get(path)
		tag := whole.Header.Get("ETag")
		if whole.Header.Get("Accept-Ranges") != "bytes" || len(tag) < 18 || tag[0] != '"' {
			t.Errorf("%s: %v", path, whole.Header)
		}
		resp, rest := get(path, "Range", "bytes=100-", "If-Range", tag)
		if resp.StatusCode != 206 || rest != all[100:] || resp.Header.Get("Content-Range") != fmt.Sprintf("bytes 100-%d/%d", len(all)-1, len(all)) ||
			resp.Header.Get("Cache-Control") != whole.Header.Get("Cache-Control") {
			t.Errorf("%s: the rest: %d, %d bytes of %d, %v", path, resp.StatusCode, len(rest), len(all), resp.Header)
		}
		if resp, body := get(path, "Range", "bytes=100-", "If-Range", `"another"`); resp.StatusCode != 200 || body != all {
			t.Errorf("%s: the rest of something else: %d, %d bytes", path, resp.StatusCode, len(body))
		}
		if resp, body := get(path, "If-None-Match", tag); resp.StatusCode != 304 || body != "" {
			t.Errorf("%s: unchanged: %d, %d bytes", path, resp.StatusCode, len(body))
		}
		if resp, _ := get(path, "Range", "bytes=100000000-"); resp.StatusCode != 416 || strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: beyond the end: %d, %v", path, resp.StatusCode, resp.Header)
		}
	}
}

// FuzzPaths: no path makes the handler fail in another way than 400 or 404.
func FuzzPaths(f *testing.F) {
	for _, p := range []string{"/tile/0/000", "/tile/entries/000.p/3", "/checkpoint", "/tile/0/x001/002.p/8", "//", "/tile/255/x/", "/tile/0/000.p/255", ""} {
		f.Add(p)
		f.Add(base + p)
	}
	h := web.Handler(hosting(newLedger(f)))
	f.Fuzz(func(t *testing.T, path string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path = path
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if c := w.Code; c != 200 && c != 400 && c != 404 && c != 301 && c != 307 {
			t.Errorf("%q: %d", path, c)
		}
	})
}
