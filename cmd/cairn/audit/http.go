package audit

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
)

const (
	// attempts is how often a file is asked for when the server fails without saying when to ask
	// again.
	attempts = 5
	// maxRetryAfter bounds what a server can ask for, far above any patience and far below what a
	// time.Duration holds: a little may be added to the wait.
	maxRetryAfter = 10 * 366 * 24 * time.Hour
	// maxRedirects is how many redirects are followed, all on one host.
	maxRedirects = 5
	// progressBytes must arrive within the patience of the caller: a server that sends less does
	// not answer.
	progressBytes = 1 << 10
	// quoteBytes of a server's text are repeated in an error.
	quoteBytes = 200
)

// HTTP returns a source that reads from a base URL.
//
// A server that is busy is waited for as long as it asks for with Retry-After, and one that fails
// is asked again a few times; for one file this takes no longer than patience. A transfer may take
// any time as long as it makes progress within patience. A server is not believed to be a ledger's
// if it redirects to another host, answers with a web page, or sends more than the file can hold;
// no answer takes more memory than the largest file.
func HTTP(base string, client *http.Client, patience time.Duration) (Source, error) {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, errors.Newf("%q is not an http or https URL", base)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.Newf("%q has a query or a fragment: give the base URL, under which the ledger has its files", base)
	}
	own := *client
	own.Timeout = 0 // progress decides
	own.CheckRedirect = stayOnHost
	f := &fetcher{base: strings.TrimRight(base, "/") + "/", client: &own, patience: patience}
	return files(f.file), nil
}

// stayOnHost refuses redirects that lead to another host, which nobody named, or out of TLS.
func stayOnHost(to *http.Request, via []*http.Request) error {
	from := via[0].URL
	switch {
	case to.URL.Host != from.Host:
		return errors.Newf("it redirects to another host, %q: audit that address if you know it to be the ledger's", to.URL.Host)
	case from.Scheme == "https" && to.URL.Scheme != "https":
		return errors.New("it redirects from https to plain http")
	case len(via) > maxRedirects:
		return errors.Newf("it redirects more than %d times", maxRedirects)
	}
	return nil
}

// fetcher makes every HTTP request of an audit.
type fetcher struct {
	base     string
	client   *http.Client
	patience time.Duration
}

// later is the failure of an attempt after which another one makes sense.
type later struct {
	asked bool // the server said how long to wait
	wait  time.Duration
	error
}

func (l *later) Unwrap() error { return l.error }

// file returns the file at a path, having tried again where that makes sense.
func (f *fetcher) file(ctx context.Context, path string) ([]byte, error) {
	end := time.Now().Add(f.patience)
	for failures := 0; ; {
		raw, err := f.once(ctx, path)
		var again *later
		if err == nil || ctx.Err() != nil || !errors.As(err, &again) {
			return raw, err
		}
		wait := again.wait
		if !again.asked {
			if failures++; failures == attempts {
				return nil, err
			}
			wait = time.Duration(failures*failures) * 100 * time.Millisecond
		}
		wait += rand.N(50 * time.Millisecond) // requests that were refused together do not return together
		if left := time.Until(end); wait > left {
			if again.asked {
				return nil, errors.Wrapf(err, "the server asks to wait %s, and no more than %s are allowed for a file (--timeout)", again.wait, f.patience)
			}
			return nil, err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		}
	}
}

// once makes one request.
func (f *fetcher) once(ctx context.Context, path string) ([]byte, error) {
	address := f.base + path
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := errors.Newf("the server sent nothing, or next to nothing, for %s", f.patience)
	stall := time.AfterFunc(f.patience, func() { cancel(silent) })
	defer stall.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errors.Wrap(err, "make request")
	}
	req.Header.Set("Accept-Encoding", "gzip") // set here, so that the transport does not decode it unbounded
	raw, err := f.answer(req, path, func() { stall.Reset(f.patience) })
	if cause := context.Cause(ctx); cause == error(silent) && err != nil {
		err = silent // asking again would take as long
	}
	if errors.Is(err, ErrMissing) || errors.Is(err, ErrEmpty) || errors.Is(err, ErrNotSealed) {
		return nil, err
	}
	return raw, errors.Wrapf(err, "fetch %s", address)
}

func (f *fetcher) answer(req *http.Request, path string, progress func()) ([]byte, error) {
	resp, err := f.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address is in the message already
		}
		if resp != nil {
			return nil, err // a redirect that is not followed: the same next time
		}
		return nil, &later{error: err}
	}
	defer resp.Body.Close()
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
		return body(resp, path, progress)
	case code == http.StatusNotFound || code == http.StatusGone:
		return nil, absent(resp, path)
	case code == http.StatusTooManyRequests || code >= 500 && code != http.StatusNotImplemented:
		wait, asked := retryAfter(resp.Header.Get("Retry-After"), time.Now())
		return nil, &later{asked, wait, refusal(resp)}
	default:
		return nil, refusal(resp)
	}
}

// refusal says what the server answered instead of a file, in quotes: it is a stranger's text.
func refusal(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, quoteBytes))
	status := strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode)
	if text := strings.TrimSpace(string(text)); text != "" && !isHTML(resp.Header, []byte(text)) {
		return errors.Newf("%s: %q", status, text)
	}
	return errors.New(status)
}

// absent says what it means that the server does not have a file.
func absent(resp *http.Response, path string) error {
	if path != checkpointPath {
		return ErrMissing
	}
	switch size, err := strconv.ParseUint(resp.Header.Get(cairnv1.SizeHeader), 10, 64); {
	case err != nil:
		return ErrMissing
	case size == 0:
		return ErrEmpty
	}
	return ErrNotSealed
}

// body reads a file, and no more than it can hold.
func body(resp *http.Response, path string, progress func()) ([]byte, error) {
	limit := limitOf(path)
	var r io.Reader = &watched{r: resp.Body, progress: progress}
	switch coding := strings.ToLower(resp.Header.Get("Content-Encoding")); coding {
	case "", "identity":
		if resp.ContentLength > int64(limit) {
			return nil, errors.Newf("it is %d bytes, and no such file of a ledger is larger than %d", resp.ContentLength, limit)
		}
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, &later{error: errors.Wrap(err, "decode gzip")}
		}
		r = z
	default:
		return nil, errors.Newf("it is encoded as %q, which was not asked for", coding)
	}
	raw, err := readBounded(r, path)
	switch {
	case len(raw) > limit:
		return nil, err // the same next time
	case err != nil:
		return nil, &later{error: errors.Wrapf(err, "the transfer broke after %d bytes", len(raw))}
	case isHTML(resp.Header, raw):
		return nil, errors.New("it is a web page, and no file of a ledger: is this the base URL?")
	}
	return raw, nil
}

// isHTML reports whether an answer is a web page, as proxies and captive portals send in place of a
// file.
func isHTML(h http.Header, raw []byte) bool {
	if media, _, err := mime.ParseMediaType(h.Get("Content-Type")); err == nil && media == "text/html" {
		return true
	}
	start := bytes.ToLower(bytes.TrimLeft(raw[:min(len(raw), 64)], " \t\r\n"))
	return bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.HasPrefix(start, []byte("<html"))
}

// retryAfter reads RFC 9110, section 10.2.3: a number of seconds, or a date. The wait is at most
// maxRetryAfter.
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseUint(value, 10, 63); err == nil {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second, true
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(0, date.Sub(now)), maxRetryAfter), true
	}
	return 0, false
}

// watched reports progress of a transfer.
type watched struct {
	r        io.Reader
	unsaid   int // bytes since the last report
	progress func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if w.unsaid += n; w.unsaid >= progressBytes {
		w.unsaid = 0
		w.progress()
	}
	return n, err
}
