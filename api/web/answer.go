package web

import (
	"net/http"
	"time"
)

// Request is what an access log says about an answered request. Method, Path and Why may hold the
// client's own bytes.
type Request struct {
	Remote  string // address and port
	Method  string
	Path    string
	Status  int
	Refused bool   // the node refused what was asked; probes that say no and absent tiles are answers
	Why     string // what a failure said
	Took    time.Duration
}

// answer remembers how a request was answered.
type answer struct {
	http.ResponseWriter
	start  time.Time
	status int
	why    string
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) request(r *http.Request) Request {
	q := Request{Remote: r.RemoteAddr, Method: r.Method, Path: r.URL.Path, Status: a.status, Why: a.why, Took: time.Since(a.start)}
	if q.Status == 0 {
		q.Status = http.StatusOK
	}
	probe := q.Path == "/livez" || q.Path == "/readyz"
	q.Refused = q.Status >= 400 && q.Status != http.StatusNotFound && !(probe && q.Status == http.StatusServiceUnavailable)
	return q
}

// pacedWriter moves the deadline of an answer with its progress: a client that reads slowly is
// served as long as it reads minRate bytes a second, one that does not read is cut off after grace.
type pacedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	start   time.Time
	sent    int
}

// pieceBytes is how much is written under one deadline.
const pieceBytes = 32 << 10

func paced(w http.ResponseWriter) *pacedWriter {
	return &pacedWriter{ResponseWriter: w, control: http.NewResponseController(w), start: time.Now()}
}

// Write implements http.ResponseWriter.
func (p *pacedWriter) Write(b []byte) (written int, err error) {
	for len(b) > 0 {
		piece := b[:min(len(b), pieceBytes)]
		p.sent += len(piece)
		// Not every ResponseWriter of a test has deadlines.
		_ = p.control.SetWriteDeadline(p.start.Add(allowed(p.sent)))
		n, err := p.ResponseWriter.Write(piece)
		written += n
		if err != nil {
			return written, err
		}
		b = b[len(piece):]
	}
	return written, nil
}

// allowed returns how long a client may take to read so many bytes.
func allowed(bytes int) time.Duration {
	return grace + time.Duration(bytes)*time.Second/minRate
}
