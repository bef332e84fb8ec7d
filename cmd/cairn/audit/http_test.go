package audit

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
)

// mirror serves a directory, except where a test answers in its place.
func mirror(t *testing.T, dir string, instead func(w http.ResponseWriter, r *http.Request) bool) *httptest.Server {
	t.Helper()
	files := http.FileServer(http.Dir(dir))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if instead == nil || !instead(w, r) {
			files.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return srv
}

func over(t *testing.T, srv *httptest.Server, patience time.Duration) Source {
	t.Helper()
	src, err := HTTP(srv.URL, srv.Client(), patience)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// TestBusyServer: a server that says when to ask again is asked then, however often it says so, as
// long as that fits the patience.
func TestBusyServer(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	dir := t.TempDir()
	writeLog(t, s, dir, 300)
	for name, tc := range map[string]struct {
		code     int
		after    func() string
		times    int32 // of each path
		patience time.Duration
		least    time.Duration
		want     string // in the error; "" means success
	}{
		"503, five times":         {503, func() string { return "0" }, attempts + 1, time.Minute, 0, ""},
		"429, a second":           {429, func() string { return "1" }, 1, time.Minute, time.Second, ""},
		"a date":                  {503, func() string { return time.Now().Add(1500 * time.Millisecond).UTC().Format(http.TimeFormat) }, 1, time.Minute, 0, ""},
		"a date that has passed":  {503, func() string { return time.Unix(1, 0).UTC().Format(http.TimeFormat) }, attempts + 1, time.Minute, 0, ""},
		"longer than allowed":     {429, func() string { return "3600" }, 1 << 30, 2 * time.Second, 0, "asks to wait 1h0m0s, and no more than 2s are allowed"},
		"longer than an int64":    {503, func() string { return "9223372036854775807" }, 1 << 30, 2 * time.Second, 0, "asks to wait"},
		"for ever":                {503, func() string { return "0" }, 1 << 30, 300 * time.Millisecond, 0, "503 Service Unavailable"},
		"fails, and does not say": {500, func() string { return "" }, 1, time.Minute, 100 * time.Millisecond, ""},
		"fails, and always":       {502, func() string { return "" }, 1 << 30, time.Minute, 0, "502 Bad Gateway"},
		"refused":                 {403, func() string { return "0" }, 1, time.Minute, 0, "403 Forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			srv := mirror(t, dir, func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/checkpoint" || asked.Add(1) > tc.times {
					return false
				}
				if after := tc.after(); after != "" {
					w.Header().Set("Retry-After", after)
				}
				w.WriteHeader(tc.code)
				return true
			})
			begin := time.Now()
			r, err := Run(t.Context(), over(t, srv, tc.patience), Options{Policy: s.policy})
			if took := time.Since(begin); took < tc.least {
				t.Errorf("took %s, the server asked for %s", took, tc.least)
			}
			switch {
			case tc.want == "" && (err != nil || !r.OK() || r.Entries != 300):
				t.Errorf("got %d entries, %v, %v", r.Entries, r.Findings, err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || len(r.Findings) != 0):
				t.Errorf("got %v, findings %v; want an error with %q", err, r.Findings, tc.want)
			}
		})
	}
}

// TestHowOftenAServerIsAsked: a failure is asked about five times, an answer that will not change
// once.
func TestHowOftenAServerIsAsked(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	for name, tc := range map[string]struct {
		answer func(w http.ResponseWriter)
		times  int32
	}{
		"500":                      {func(w http.ResponseWriter) { w.WriteHeader(500) }, 5},
		"503":                      {func(w http.ResponseWriter) { w.WriteHeader(503) }, 5},
		"429":                      {func(w http.ResponseWriter) { w.WriteHeader(429) }, 5},
		"a connection that breaks": {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, 5},
		"a transfer that breaks": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("half"))
		}, 5},
		"501":        {func(w http.ResponseWriter) { w.WriteHeader(501) }, 1},
		"400":        {func(w http.ResponseWriter) { w.WriteHeader(400) }, 1},
		"403":        {func(w http.ResponseWriter) { w.WriteHeader(403) }, 1},
		"404":        {func(w http.ResponseWriter) { w.WriteHeader(404) }, 1},
		"a web page": {func(w http.ResponseWriter) { _, _ = w.Write([]byte("<html>")) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			srv := mirror(t, t.TempDir(), func(w http.ResponseWriter, _ *http.Request) bool {
				asked.Add(1)
				tc.answer(w)
				return true
			})
			// A connection for each request: the transport repeats requests on a kept one by
			// itself.
			srv.Client().Transport.(*http.Transport).DisableKeepAlives = true
			if _, err := Run(t.Context(), over(t, srv, time.Minute), Options{Policy: s.policy}); err == nil {
				t.Error("the audit ended without an error")
			}
			if got := asked.Load(); got != tc.times {
				t.Errorf("the server was asked %d times, want %d", got, tc.times)
			}
		})
	}
}

// TestRedirects: five in a row are followed on one host, and none leads out of TLS.
func TestRedirects(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	dir := t.TempDir()
	writeLog(t, s, dir, 3)
	files := http.FileServer(http.Dir(dir))
	hops := func(n int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if at := len(r.URL.Query()["hop"]); at < n {
				http.Redirect(w, r, r.URL.Path+"?"+strings.Repeat("hop=x&", at+1), http.StatusFound)
				return
			}
			files.ServeHTTP(w, r)
		}
	}
	for n, want := range map[int]string{0: "", 5: "", 6: "redirects more than 5 times"} {
		srv := httptest.NewServer(hops(n))
		r, err := Run(t.Context(), over(t, srv, time.Minute), Options{Policy: s.policy})
		srv.Close()
		if want == "" && (err != nil || !r.OK() || r.Entries != 3) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d redirects: %+v, %v; want an error with %q", n, r, err, want)
		}
	}
	for scheme, want := range map[string]string{"https": "", "http": "redirects from https to plain http"} {
		srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "" {
				http.Redirect(w, r, scheme+"://"+r.Host+r.URL.Path+"?again", http.StatusFound)
				return
			}
			files.ServeHTTP(w, r)
		}))
		r, err := Run(t.Context(), over(t, srv, time.Minute), Options{Policy: s.policy})
		srv.Close()
		if want == "" && (err != nil || !r.OK()) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("from https to %s on one host: %+v, %v; want an error with %q", scheme, r, err, want)
		}
	}
}

// TestNotALedgersFile: what a broken or foreign server answers is an error about the server, and no
// finding.
func TestNotALedgersFile(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	dir := t.TempDir()
	writeLog(t, s, dir, 300)
	elsewhere := mirror(t, dir, nil)
	squeeze := func(raw []byte) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(raw)
		_ = z.Close()
		return b.Bytes()
	}
	bomb := squeeze(make([]byte, 32<<20))
	page := "<!DOCTYPE html><html><body>Sign in to the network</body></html>"
	send := func(header, value string, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if header != "" {
				w.Header().Set(header, value)
			}
			_, _ = w.Write(body)
		}
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("half"))
	}
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"a web page":                    {send("Content-Type", "text/html; charset=utf-8", []byte(page)), "web page"},
		"a web page under another type": {send("Content-Type", "text/plain", []byte("\n  "+page)), "web page"},
		"a redirect to another host": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusFound)
		}, "redirects to another host"},
		"a redirect in circles": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, "redirects more than"},
		"cut off":               {cut, "broke after 4 bytes"},
		"a gzip bomb":           {send("Content-Encoding", "gzip", bomb), "larger than"},
		"gzip that is none":     {send("Content-Encoding", "gzip", []byte("not gzip")), "decode gzip"},
		"gzip, cut off":         {send("Content-Encoding", "gzip", bomb[:20]), "broke after"},
		"an unknown encoding":   {send("Content-Encoding", "br", []byte("x")), `encoded as "br"`},
		"more than announced fits": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99999999999")
			w.WriteHeader(200)
		}, "no such file of a ledger is larger"},
		"without an end": {func(w http.ResponseWriter, _ *http.Request) {
			for junk := make([]byte, 1<<16); ; {
				if _, err := w.Write(junk); err != nil {
					return
				}
			}
		}, "larger than"},
		"no content": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "204"},
		"text for the terminal": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			_, _ = w.Write([]byte("\x1b[2Jhello"))
		}, `\x1b[2Jhello`},
	} {
		for _, path := range []string{"/checkpoint", "/tile/0/000", "/tile/entries/000"} {
			t.Run(name+path, func(t *testing.T) {
				t.Parallel()
				srv := mirror(t, dir, func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path == path {
						tc.answer(w, r)
					}
					return r.URL.Path == path
				})
				r, err := Run(t.Context(), over(t, srv, 20*time.Second), Options{Policy: s.policy})
				if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\x1b") {
					t.Errorf("got %v, want an error with %q", err, tc.want)
				}
				if len(r.Findings) != 0 {
					t.Errorf("findings %v: the server is at fault, not the ledger's files", r.Findings)
				}
			})
		}
	}
}

// TestReadBounded: of an answer without an end no more is read than the largest file that can stand
// at its path.
func TestReadBounded(t *testing.T) {
	t.Parallel()
	for path, most := range map[string]int{"checkpoint": 1 << 20, "tile/0/000": 8192, "tile/entries/000": 256 * 65537} {
		endless := &countingReader{}
		if raw, err := readBounded(endless, path); err == nil || endless.n > most+1 {
			t.Errorf("%s: read %d bytes, kept %d, %v; want an error after at most %d", path, endless.n, len(raw), err, most)
		}
	}
}

type countingReader struct{ n int }

func (c *countingReader) Read(p []byte) (int, error) {
	c.n += len(p)
	return len(p), nil
}

// TestHonestVariants: redirects on one host, gzip and chunks are what real mirrors do.
func TestHonestVariants(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	dir := t.TempDir()
	writeLog(t, s, filepath.Join(dir, "real"), 300)
	plain := http.FileServer(http.Dir(dir))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/real") {
			http.Redirect(w, r, "/real"+r.URL.Path, http.StatusMovedPermanently)
			return
		}
		rec := httptest.NewRecorder()
		plain.ServeHTTP(rec, r)
		if rec.Code == http.StatusOK && r.Header.Get("Accept-Encoding") == "gzip" {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = z.Write(rec.Body.Bytes())
			_ = z.Close()
			return
		}
		w.WriteHeader(rec.Code)
	}))
	defer srv.Close()
	if r := run(t, over(t, srv, time.Minute), Options{Policy: s.policy}); !r.OK() || r.Entries != 300 {
		t.Errorf("%d entries, findings %v", r.Entries, r.Findings)
	}
}

// TestSlowServer: a transfer takes as long as it needs while it makes progress, and ends when it
// makes none.
func TestSlowServer(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	dir := t.TempDir()
	writeLog(t, s, dir, 256)
	slowly := func(piece int, stop bool) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/tile/0/000" {
				return false
			}
			raw := make([]byte, 0, 8192)
			rec := httptest.NewRecorder()
			http.FileServer(http.Dir(dir)).ServeHTTP(rec, r)
			raw = append(raw, rec.Body.Bytes()...)
			w.Header().Set("Content-Length", fmt.Sprint(len(raw)))
			for len(raw) > 0 {
				n := min(piece, len(raw))
				_, _ = w.Write(raw[:n])
				raw = raw[n:]
				w.(http.Flusher).Flush()
				if stop {
					<-r.Context().Done()
					return true
				}
				time.Sleep(300 * time.Millisecond)
			}
			return true
		}
	}
	const patience = 2 * time.Second
	begin := time.Now()
	if r := run(t, over(t, mirror(t, dir, slowly(1<<10, false)), patience), Options{Policy: s.policy}); !r.OK() || time.Since(begin) < patience {
		t.Errorf("slow: findings %v after %s", r.Findings, time.Since(begin))
	}
	if _, err := Run(t.Context(), over(t, mirror(t, dir, slowly(100, true)), patience), Options{Policy: s.policy}); err == nil || !strings.Contains(err.Error(), "sent nothing") {
		t.Errorf("stopped: %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"0": 0, "2": 2 * time.Second, " 120 ": 2 * time.Minute,
		"Sun, 29 Nov 2026 12:00:07 GMT": 7 * time.Second, "Sun, 29 Nov 2026 11:59:00 GMT": 0,
		"Mon, 29 Nov 2200 12:00:00 GMT": maxRetryAfter, "Fri, 31 Dec 9999 23:59:59 GMT": maxRetryAfter,
		"9223372036854775807": maxRetryAfter,
	} {
		if got, ok := retryAfter(value, now); !ok || got != want {
			t.Errorf("%q: got %s, %t, want %s", value, got, ok, want)
		}
	}
	for _, value := range []string{"", "-1", "1.5", "soon", "99999999999999999999"} {
		if got, ok := retryAfter(value, now); ok {
			t.Errorf("%q is taken for %s", value, got)
		}
	}
}

// TestRetryAfterTooLong: a server that asks for a longer wait than is allowed is asked once.
func TestRetryAfterTooLong(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	for _, value := range []string{"9223372036854775807", "Mon, 29 Nov 2200 12:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"} {
		var requests atomic.Int64
		src := over(t, mirror(t, t.TempDir(), func(w http.ResponseWriter, _ *http.Request) bool {
			requests.Add(1)
			w.Header().Set("Retry-After", value)
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}), time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := Run(ctx, src, Options{Policy: s.policy})
		cancel()
		if n := requests.Load(); n != 1 || err == nil || !strings.Contains(err.Error(), "asks to wait") {
			t.Errorf("%s: %d requests, %v", value, n, err)
		}
	}
}

// TestNoEntriesYet: an empty ledger is in order, a source that has nothing is no ledger, and what
// was there before is not called empty.
func TestNoEntriesYet(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	answers := func(size string) Source {
		return over(t, mirror(t, t.TempDir(), func(w http.ResponseWriter, _ *http.Request) bool {
			if size != "" {
				w.Header().Set(cairnv1.SizeHeader, size)
			}
			http.Error(w, "nothing is sealed yet", http.StatusNotFound)
			return true
		}), time.Second)
	}
	r, err := Run(t.Context(), answers("0"), Options{Policy: s.policy})
	if err != nil || !r.Empty || !r.OK() || r.Behind {
		t.Errorf("empty: %+v, %v", r, err)
	}
	if _, err := Run(t.Context(), answers("7"), Options{Policy: s.policy}); !errors.Is(err, ErrNotSealed) {
		t.Errorf("entries that are not sealed: %v", err)
	}
	since := &Head{Origin: "example.org/ledger", Size: 5, Root: rootOf(5)}
	for _, size := range []string{"0", "7"} {
		if r, err := Run(t.Context(), answers(size), Options{Policy: s.policy, Since: since}); err != nil || !r.Behind || r.Empty {
			t.Errorf("size %s after an audit of 5: %+v, %v", size, r, err)
		}
	}
	for name, src := range map[string]Source{"404": answers(""), "no size": answers("many"), "empty directory": Dir(t.TempDir())} {
		for _, since := range []*Head{nil, since} {
			if r, err := Run(t.Context(), src, Options{Policy: s.policy, Since: since}); !errors.Is(err, ErrMissing) || len(r.Findings) != 0 || r.Empty {
				t.Errorf("%s: %+v, %v; want ErrMissing", name, r, err)
			}
		}
	}
}
