package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
)

// Ledger is what the handlers read; *ledger.Ledger has it. Safe for concurrent use.
type Ledger interface {
	Origin() string
	Program() ledger.Program
	Head() ledger.Head
	Sealed() *ledger.Sealed
	Tile(level uint8, index uint64, width int) ([]byte, error)
	EntryBundle(index uint64, width int) ([]byte, error)
}

// Config says what is served.
type Config struct {
	Ledger func(origin string) (Ledger, bool) // the ledger of this name; false if the node hosts none
	// Learning says why the node may come to host ledgers that Ledger does not know yet, as after a
	// start; nil when there are no others. A nil function: there are never others.
	Learning func() error
	Ledgers  func() []Ledger     // all of them, in any order; the caller may change the slice
	Live     func() error        // nil error: the process works; a nil function: always
	Ready    func() error        // nil error: the node can serve; a nil function: always
	Metrics  prometheus.Gatherer // nil: no /metrics
	Access   func(Request)       // called with every request that has been answered; nil: nobody asks
}

// Limits of the read path. A bundle of 256 entries of 64 KiB takes 16 MiB.
const (
	maxBundles  = 16
	maxTiles    = 64
	patience    = 2 * time.Second // how long a request waits for its turn
	maxMetrics  = 4
	maxHeaders  = 16 << 10
	maxPathSize = 512 // an origin has at most 200 bytes
)

// A client may take longer to read an answer than grace if it reads at least minRate bytes a second
// on average.
const (
	grace   = 10 * time.Second
	minRate = 50_000
)

// Handler serves everything of the package documentation.
func Handler(cfg Config) http.Handler {
	if cfg.Access == nil {
		cfg.Access = func(Request) {}
	}
	h := &handler{cfg: cfg, bundles: newTurns(maxBundles), tiles: newTurns(maxTiles)}
	mux := probes(cfg)
	mux.HandleFunc("/", read(h.serve))
	return &canonical{mux: mux, access: cfg.Access}
}

// Probes serves /livez, /readyz and /metrics and nothing of the ledger, for a listener that only an
// orchestrator and monitoring reach.
func Probes(cfg Config) http.Handler {
	if cfg.Access == nil {
		cfg.Access = func(Request) {}
	}
	return &canonical{mux: probes(cfg), access: cfg.Access}
}

func probes(cfg Config) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/livez", read(probe(cfg.Live)))
	mux.HandleFunc("/readyz", read(probe(cfg.Ready)))
	if cfg.Metrics != nil {
		metrics := promhttp.HandlerFor(cfg.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: maxMetrics, Timeout: 10 * time.Second})
		mux.HandleFunc("/metrics", getOnly(metrics.ServeHTTP))
	}
	return mux
}

// NewServer returns an HTTP server for the handler with limits on what a client can hold. Tiles and
// bundles have a deadline that moves with their progress instead of WriteTimeout.
func NewServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeaders,
	}
}

type handler struct {
	cfg            Config
	bundles, tiles *turns // of requests that hold memory
}

// canonical refuses paths that a cache would keep apart from the one they mean, before ServeMux
// redirects them.
type canonical struct {
	mux    *http.ServeMux
	access func(Request)
}

func (c *canonical) ServeHTTP(response http.ResponseWriter, r *http.Request) {
	w := &answer{ResponseWriter: response, start: time.Now()}
	defer func() { c.access(w.request(r)) }()
	w.Header().Set("X-Content-Type-Options", "nosniff")
	p := r.URL.Path
	if len(p) > maxPathSize || r.URL.EscapedPath() != p || strings.Contains(p, "//") || strings.Contains(p, "/.") {
		fail(w, http.StatusBadRequest, "the path is not canonical")
		return
	}
	c.mux.ServeHTTP(w, r)
}

// getOnly allows GET and HEAD only.
func getOnly(f http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			fail(w, http.StatusMethodNotAllowed, "only GET and HEAD are served")
			return
		}
		f(w, r)
	}
}

// read is getOnly for what pages of other origins may read: verifiers run in browsers, too, and
// nothing there is private.
func read(f http.HandlerFunc) http.HandlerFunc {
	return getOnly(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		f(w, r)
	})
}

func fail(w http.ResponseWriter, code int, why string) {
	if a, ok := w.(*answer); ok {
		a.why = why
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, why, code)
}

func probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if check != nil {
			if err := check(); err != nil {
				fail(w, http.StatusServiceUnavailable, err.Error())
				return
			}
		}
		w.Header().Set("Cache-Control", "no-store")
		send(w, "text/plain; charset=utf-8", []byte("ok\n"))
	}
}

func send(w http.ResponseWriter, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the client may be gone
}

// serve serves the listing and the files of all ledgers.
func (h *handler) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/" {
		h.list(w, r)
		return
	}
	origin, file, ok := split(r.URL.Path)
	var l Ledger
	var learning error
	if ok {
		if l, ok = h.cfg.Ledger(origin); !ok && h.cfg.Learning != nil {
			if learning = h.cfg.Learning(); learning == nil {
				l, ok = h.cfg.Ledger(origin) // it may have been learnt between the two questions
			}
		}
	}
	switch {
	case learning != nil:
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, "this node does not know yet whether it hosts such a ledger: "+learning.Error())
	case !ok:
		fail(w, http.StatusNotFound, "no ledger of this node has this path; / lists its ledgers and their paths")
	case file == checkpointFile:
		checkpoint(w, l)
	default:
		h.tile(w, r, l, file)
	}
}

const checkpointFile = "checkpoint"

// split splits a path into the origin of a ledger and a file of it. An origin may hold slashes,
// even "/tile/" and "/checkpoint": the name of a file has neither, so the last one ends the origin.
func split(path string) (origin, file string, ok bool) {
	if base, ok := strings.CutSuffix(path, "/"+checkpointFile); ok && base != "" {
		return base[1:], checkpointFile, true
	}
	if at := strings.LastIndex(path, "/tile/"); at > 0 {
		return path[1:at], path[at+1:], true
	}
	return "", "", false
}

// listed is one ledger of the listing.
type listed struct {
	Origin     string `json:"origin"`
	Program    string `json:"program"`
	Size       uint64 `json:"size"`
	SealedSize uint64 `json:"sealed_size"` // 0: nothing is sealed yet
	Base       string `json:"base"`        // path under which the ledger's files are
}

// list serves the listing of the ledgers, which changes all the time.
func (h *handler) list(w http.ResponseWriter, r *http.Request) {
	done, ok := take(w, r, h.tiles)
	if !ok {
		return
	}
	defer done()
	ledgers := []listed{} // no ledger is [], not null
	for _, l := range h.cfg.Ledgers() {
		entry := listed{Origin: l.Origin(), Program: l.Program().Name(), Size: l.Head().Size, Base: "/" + l.Origin()}
		if sealed := l.Sealed(); sealed != nil {
			entry.SealedSize = sealed.Size
		}
		ledgers = append(ledgers, entry)
	}
	slices.SortFunc(ledgers, func(a, b listed) int { return strings.Compare(a.Origin, b.Origin) })
	body, err := json.Marshal(ledgers)
	if err != nil {
		fail(w, http.StatusInternalServerError, "this node cannot list its ledgers: "+err.Error())
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	send(paced(w), "application/json", append(body, '\n'))
}

// take waits for a turn, and tells the client if there is none.
func take(w http.ResponseWriter, r *http.Request, turn *turns) (done func(), ok bool) {
	wait, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	if done, ok = turn.take(wait, NetworkOf(r.RemoteAddr)); !ok {
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, "too many requests at a time")
	}
	return done, ok
}

// checkpoint serves C2SP tlog-checkpoint. It changes all the time: caches must ask.
func checkpoint(w http.ResponseWriter, l Ledger) {
	sealed := l.Sealed()
	if sealed == nil {
		w.Header().Set(cairnv1.SizeHeader, strconv.FormatUint(l.Head().Size, 10))
		fail(w, http.StatusNotFound, "nothing is sealed yet")
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	send(w, "text/plain; charset=utf-8", sealed.Note)
}

// tile serves C2SP tlog-tiles, tiles and entry bundles.
func (h *handler) tile(w http.ResponseWriter, r *http.Request, l Ledger, path string) {
	kind, level, index, width, err := merkle.ParseTilePath(path)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	sealed := l.Sealed()
	if sealed == nil || width > merkle.WidthAt(level, index, sealed.Size) {
		fail(w, http.StatusNotFound, "the sealed ledger has no such tile")
		return
	}
	turn, get := h.tiles, func() ([]byte, error) { return l.Tile(level, index, width) }
	if kind == merkle.EntryBundle {
		turn, get = h.bundles, func() ([]byte, error) { return l.EntryBundle(index, width) }
	}
	done, ok := take(w, r, turn)
	if !ok {
		return
	}
	defer done()
	body, err := get()
	if err != nil {
		var missing *ledger.NotFoundError
		if errors.As(err, &missing) {
			fail(w, http.StatusNotFound, err.Error())
			return
		}
		fail(w, http.StatusInternalServerError, "this node cannot serve the tile: "+err.Error())
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Content-Type", "application/octet-stream")
	sum := sha256.Sum256(body)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	// ServeContent answers Range, If-Range and If-None-Match.
	http.ServeContent(paced(w), r, "", time.Time{}, bytes.NewReader(body))
}
