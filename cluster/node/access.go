package node

import (
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/api/web"
	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

const (
	// accessWindow is how often one cause of refusals may have a line.
	accessWindow = time.Minute
	// maxAccessCauses bounds the causes that are told apart, and so the lines in a window.
	maxAccessCauses = 256
	// maxStrangerText bounds what a stranger can put into one attribute of a line, in bytes.
	maxStrangerText = 200
)

// accessLog writes what strangers and clients did. Every log line about somebody else than a
// member of the cluster passes through note, on all listeners, so that nobody can fill the disk
// or forge lines: text is cleaned and bounded, and one cause has one line in a window.
type accessLog struct {
	log   *slog.Logger
	all   atomic.Bool                             // successes, too
	after func(d time.Duration, f func()) stopper // time.AfterFunc

	mu struct {
		sync.Mutex
		causes map[cause]*refusals
	}
}

type stopper interface{ Stop() bool }

// cause is what makes refusals one line.
type cause struct{ port, address, principal, reason string }

// refusals are those of one cause in the present window.
type refusals struct {
	last       access
	suppressed int // since the last line
}

// access is one thing that somebody did or tried.
type access struct {
	port      string // api, peer, http
	remote    net.Addr
	principal string // proved, unless claimed
	claimed   bool   // principal and serial are what a certificate says whose key was not proved
	serial    string
	method    string
	reason    string // why it was refused, a stable word; "" if it was not
	detail    string
	took      time.Duration
}

func newAccessLog(log *slog.Logger) *accessLog {
	a := &accessLog{log: log, after: func(d time.Duration, f func()) stopper { return time.AfterFunc(d, f) }}
	a.mu.causes = map[cause]*refusals{}
	return a
}

// note writes a line, or counts it. Refusals always have lines, successes if they were asked for.
func (a *accessLog) note(x access) {
	if x.reason == "" {
		if a.all.Load() {
			a.write("access", x, 0)
		}
		return
	}
	c := cause{x.port, addressOf(x.remote), x.principal, x.reason}
	a.mu.Lock()
	r := a.mu.causes[c]
	if r == nil && len(a.mu.causes) >= maxAccessCauses {
		// Too many to tell apart: the rest of a port has a cause of its own.
		c = cause{port: x.port, reason: "others"}
		r = a.mu.causes[c]
	}
	first := r == nil
	if first {
		r = &refusals{}
		a.mu.causes[c] = r
		a.after(accessWindow, func() { a.endWindow(c) })
	} else {
		r.suppressed++
	}
	r.last = x
	a.mu.Unlock()
	if first {
		a.write("refused", x, 0)
	}
}

// endWindow writes how many refusals of a cause had no line, and begins another window if there
// were any.
func (a *accessLog) endWindow(c cause) {
	a.mu.Lock()
	r := a.mu.causes[c]
	n := r.suppressed
	if n == 0 {
		delete(a.mu.causes, c)
	} else {
		r.suppressed = 0
		a.after(accessWindow, func() { a.endWindow(c) })
	}
	last := r.last
	a.mu.Unlock()
	if n > 0 {
		a.write("refused", last, n)
	}
}

func (a *accessLog) write(message string, x access, suppressed int) {
	attrs := []any{"port", x.port, "address", cleanAddress(x.remote)}
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, key, cleanText(value))
		}
	}
	if x.claimed {
		add("claims", x.principal)
	} else {
		add("principal", x.principal)
	}
	add("serial", x.serial)
	add("method", x.method)
	add("reason", x.reason)
	add("detail", x.detail)
	if x.took > 0 {
		attrs = append(attrs, "took", x.took.Round(time.Microsecond).String())
	}
	if suppressed > 0 {
		attrs = append(attrs, "more_like_it", suppressed)
	}
	a.log.Info(message, attrs...)
}

// handshake notes the outcome of a handshake that somebody else began. Whoever connected and sent
// nothing has no line: port scanners and health checks of load balancers do that all day.
func (a *accessLog) handshake(port string, heard bool, e lpa.Event) {
	if e.Err != nil && !heard {
		return
	}
	x := access{port: port, remote: e.Remote, principal: string(e.Peer), method: "handshake", reason: e.Reason, took: e.Duration}
	if c := e.Certificate; c != nil {
		x.serial = serialOf(c)
		if e.Reason != "" && e.Reason != lpa.ReasonDenied {
			x.principal, x.claimed = string(c.ID), true
		}
	}
	if e.Err != nil {
		x.detail = e.Err.Error()
	}
	a.note(x)
}

// peer notes that an authenticated connection to the peer port was refused.
func (a *accessLog) peer(remote net.Addr, err error) {
	x := access{port: "peer", remote: remote, method: "hello", reason: "hello", detail: err.Error()}
	var stranger *noMemberError
	if errors.As(err, &stranger) {
		x.reason, x.principal, x.serial = "no_member", string(stranger.cert.ID), serialOf(stranger.cert)
	}
	a.note(x)
}

// call notes a finished or refused call of the API.
func (a *accessLog) call(c server.Call) {
	x := access{port: "api", remote: c.Remote, principal: c.Peer.Principal, serial: c.Peer.Serial, method: c.Method, took: c.Took}
	if c.Refused {
		x.reason, x.detail = c.Reason, c.Detail
	} else {
		x.detail = c.Code.String()
	}
	a.note(x)
}

// request notes an answered or refused HTTP request.
func (a *accessLog) request(r web.Request) {
	x := access{port: "http", remote: textAddr(r.Remote), method: r.Method + " " + r.Path, took: r.Took, detail: r.Why}
	if r.Refused {
		x.reason = strconv.Itoa(r.Status)
	} else if x.detail == "" {
		x.detail = strconv.Itoa(r.Status)
	}
	a.note(x)
}

// Write takes a line of net/http about a connection. It implements io.Writer.
func (a *accessLog) Write(line []byte) (int, error) {
	a.note(access{port: "http", reason: "connection", detail: strings.TrimSpace(string(line))})
	return len(line), nil
}

func serialOf(c *pki.Certificate) string { return c.SerialNumber.Text(16) }

// textAddr is an address in the words of net/http.
type textAddr string

// Network implements net.Addr.
func (textAddr) Network() string { return "tcp" }

// String implements net.Addr.
func (a textAddr) String() string { return string(a) }

// cleanText makes text that a stranger chose fit for one line of a log: bounded, and without
// control characters, also where a log is printed as it is.
func cleanText(s string) string {
	cut := len(s) > maxStrangerText
	if cut {
		s = s[:maxStrangerText]
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
	if cut {
		s += "..."
	}
	return s
}

func cleanAddress(a net.Addr) string {
	if a == nil {
		return ""
	}
	return cleanText(a.String())
}

// addressOf returns the network that a stranger connects from; see [web.NetworkOf].
func addressOf(a net.Addr) string {
	if a == nil {
		return ""
	}
	return cleanText(web.NetworkOf(a.String()))
}
