package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/api/web"
	"github.com/cairnledger/cairn/pqcrypto/lpa"
)

// accessWorld is an access log whose windows end when the test says so.
type accessWorld struct {
	*accessLog
	out     bytes.Buffer
	pending []func()
}

func newAccessWorld() *accessWorld {
	w := &accessWorld{}
	w.accessLog = newAccessLog(slog.New(slog.NewTextHandler(&w.out, nil)))
	w.after = func(_ time.Duration, f func()) stopper {
		w.pending = append(w.pending, f)
		return time.NewTimer(0)
	}
	return w
}

func (w *accessWorld) endWindows() {
	fs := w.pending
	w.pending = nil
	for _, f := range fs {
		f()
	}
}

func (w *accessWorld) lines() []string {
	defer w.out.Reset()
	return strings.FieldsFunc(w.out.String(), func(r rune) bool { return r == '\n' })
}

func tcp(s string) net.Addr { a, _ := net.ResolveTCPAddr("tcp", s); return a }

// TestAccessLogBounds: one cause has one line in a window, and then one with the count of the rest.
func TestAccessLogBounds(t *testing.T) {
	t.Parallel()
	w := newAccessWorld()
	for i := range 50 {
		w.note(access{port: "peer", remote: tcp(fmt.Sprintf("192.0.2.1:%d", 1000+i)), reason: "tls", detail: "garbage"})
	}
	w.note(access{port: "peer", remote: tcp("192.0.2.2:1"), reason: "tls"})
	if got := w.lines(); len(got) != 2 || !strings.Contains(got[0], "address=192.0.2.1:1000 reason=tls detail=garbage") || !strings.Contains(got[1], "192.0.2.2") {
		t.Errorf("at once: %q", got)
	}
	w.endWindows()
	if got := w.lines(); len(got) != 1 || !strings.Contains(got[0], "more_like_it=49") {
		t.Errorf("after a minute: %q", got)
	}
	w.endWindows()
	w.note(access{port: "peer", remote: tcp("192.0.2.1:7"), reason: "tls"})
	if got := w.lines(); len(got) != 1 || strings.Contains(got[0], "more_like_it") {
		t.Errorf("after a quiet minute: %q", got)
	}
	// One machine has many addresses, and many machines have few lines.
	for i := range 100 {
		w.note(access{port: "api", remote: tcp(fmt.Sprintf("[2001:db8::%x]:1", i+1)), reason: "tls"})
	}
	if got := w.lines(); len(got) != 1 {
		t.Errorf("one /64: %d lines", len(got))
	}
	for i := range 10_000 {
		w.note(access{port: "api", remote: tcp(fmt.Sprintf("10.0.%d.%d:1", i/256, i%256)), reason: "tls"})
	}
	if got := w.lines(); len(got) > maxAccessCauses {
		t.Errorf("10,000 addresses: %d lines", len(got))
	}
}

// TestAccessLogCauses: whatever tells two causes apart gives each a line of its own, and so does
// the port when there are too many causes to tell apart.
func TestAccessLogCauses(t *testing.T) {
	t.Parallel()
	one := access{port: "api", remote: tcp("192.0.2.1:1"), principal: "spiffe://a", reason: "denied"}
	for name, change := range map[string]func(*access){
		"port":         func(x *access) { x.port = "peer" },
		"address":      func(x *access) { x.remote = tcp("192.0.2.2:1") },
		"another /64":  func(x *access) { x.remote = tcp("[2001:db8:0:1::1]:1") },
		"principal":    func(x *access) { x.principal = "spiffe://b" },
		"reason":       func(x *access) { x.reason = "tls" },
		"no principal": func(x *access) { x.principal = "" },
	} {
		w := newAccessWorld()
		w.note(one)
		other := one
		change(&other)
		w.note(other)
		if got := w.lines(); len(got) != 2 {
			t.Errorf("two refusals that differ in %s: %q", name, got)
		}
	}
	for name, change := range map[string]func(*access){
		"client's port": func(x *access) { x.remote = tcp("192.0.2.1:2") },
		"method":        func(x *access) { x.method = "GET /checkpoint" },
		"detail":        func(x *access) { x.detail = "another" },
		"serial":        func(x *access) { x.serial = "17" },
	} {
		w := newAccessWorld()
		w.note(one)
		other := one
		change(&other)
		w.note(other)
		if got := w.lines(); len(got) != 1 {
			t.Errorf("two refusals that differ in the %s only: %q", name, got)
		}
	}
	w := newAccessWorld()
	fill := func() {
		for i := range 2 * maxAccessCauses {
			w.note(access{port: "api", remote: tcp(fmt.Sprintf("10.0.%d.%d:1", i/256, i%256)), reason: "tls"})
		}
	}
	fill()
	if got := w.lines(); len(got) != maxAccessCauses+1 {
		t.Errorf("%d causes have %d lines, want %d and one for the rest", 2*maxAccessCauses, len(got), maxAccessCauses)
	}
	for _, port := range []string{"peer", "http"} {
		w.note(access{port: port, remote: tcp("192.0.2.1:1"), reason: "tls"})
		w.note(access{port: port, remote: tcp("192.0.2.2:1"), reason: "tls"})
		if got := w.lines(); len(got) != 1 || !strings.Contains(got[0], "port="+port) {
			t.Errorf("the first of the rest of %s: %q, want a line of its own", port, got)
		}
	}
	w.endWindows()
	rest := map[string]bool{}
	for _, line := range w.lines() {
		for _, want := range []string{"port=api", "port=peer", "port=http"} {
			rest[want] = rest[want] || strings.Contains(line, want) && strings.Contains(line, "more_like_it=")
		}
	}
	if !rest["port=api"] || !rest["port=peer"] || !rest["port=http"] {
		t.Errorf("after a minute the rest of these ports has been counted: %v", rest)
	}
}

// TestAccessLogText: nothing that a stranger chose breaks a line, is hidden in it, or is long. JSON
// shows what the handler of text lines would escape by itself.
func TestAccessLogText(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := newAccessLog(slog.New(slog.NewJSONHandler(&out, nil)))
	evil := "a\nnode=n1 msg=forged\x1b[2J\x7f\u009b\u202e\u200b" + strings.Repeat("x", 1000) + "\xff"
	log.note(access{port: "api", remote: textAddr(evil), principal: evil, serial: evil, method: evil, reason: evil, detail: evil})
	log.note(access{port: "api", remote: textAddr(evil), principal: evil, claimed: true, reason: "denied"})
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines, want 2:\n%s", len(lines), out.String())
	}
	for _, line := range lines {
		var attrs map[string]string
		if err := json.Unmarshal([]byte(line), &attrs); err != nil {
			t.Fatal(err)
		}
		for key, text := range attrs {
			if len(text) > 2*maxStrangerText {
				t.Errorf("%s has %d bytes", key, len(text))
			}
			for _, r := range text {
				if !unicode.IsPrint(r) {
					t.Errorf("%s is %q and has the character %U", key, text, r)
				}
			}
		}
	}
}

// TestAccessLogOfHandshakes: whoever sent nothing has no line, others say who they are.
func TestAccessLogOfHandshakes(t *testing.T) {
	t.Parallel()
	w := newAccessWorld()
	cert := testCertificate(t, "billing")
	e := lpa.Event{Side: lpa.SideServer, Remote: tcp("192.0.2.9:5"), Reason: lpa.ReasonTimeout, Err: errors.New("no time")}
	for range 50 {
		w.handshake("peer", false, e)
	}
	w.endWindows()
	if got := w.lines(); len(got) != 0 {
		t.Errorf("silent connections: %q", got)
	}
	e.Reason, e.Certificate = lpa.ReasonExpired, cert
	w.handshake("api", true, e)
	if got := w.lines(); len(got) != 1 || !strings.Contains(got[0], "claims="+string(cert.ID)) || !strings.Contains(got[0], "serial="+serialOf(cert)) {
		t.Errorf("an expired certificate: %q", got)
	}
	e.Reason, e.Peer = lpa.ReasonDenied, cert.ID
	w.handshake("api", true, e)
	if got := w.lines(); len(got) != 1 || !strings.Contains(got[0], "principal="+string(cert.ID)) {
		t.Errorf("a denied peer: %q", got)
	}
	e.Reason, e.Err = "", nil
	w.handshake("api", true, e)
	if got := w.lines(); len(got) != 0 {
		t.Errorf("a success that nobody asked for: %q", got)
	}
	w.all.Store(true)
	w.handshake("api", true, e)
	if got := w.lines(); len(got) != 1 || !strings.Contains(got[0], "msg=access") {
		t.Errorf("a success: %q", got)
	}
}

// TestAccessLogOfCalls: what a line says about a call of the API, a request of HTTP and a
// connection of a peer, refused or not.
func TestAccessLogOfCalls(t *testing.T) {
	t.Parallel()
	cert := testCertificate(t, "billing")
	from := tcp("192.0.2.9:5")
	peer := server.Peer{Principal: "spiffe://a", Serial: "17"}
	for name, x := range map[string]struct {
		note    func(*accessLog)
		refused bool
		want    string // from port= on, without the time that it took
	}{
		"a call": {func(a *accessLog) {
			a.call(server.Call{Method: "/l/Get", Peer: peer, Remote: from, Code: codes.OK, Took: time.Second})
		}, false,
			"port=api address=192.0.2.9:5 principal=spiffe://a serial=17 method=/l/Get detail=OK took=1s"},
		"a call that found nothing": {func(a *accessLog) {
			a.call(server.Call{Method: "/l/Get", Peer: peer, Remote: from, Code: codes.NotFound, Reason: "NOT_FOUND", Detail: "no"})
		}, false, "port=api address=192.0.2.9:5 principal=spiffe://a serial=17 method=/l/Get detail=NotFound"},
		"a refused call": {func(a *accessLog) {
			a.call(server.Call{Method: "/l/Append", Peer: peer, Remote: from, Refused: true, Code: codes.PermissionDenied, Reason: "ROLE", Detail: "needs writer"})
		}, true, `port=api address=192.0.2.9:5 principal=spiffe://a serial=17 method=/l/Append reason=ROLE detail="needs writer"`},
		"a request": {func(a *accessLog) {
			a.request(web.Request{Remote: "192.0.2.9:5", Method: "GET", Path: "/checkpoint", Status: 200, Took: time.Millisecond})
		}, false, `port=http address=192.0.2.9:5 method="GET /checkpoint" detail=200 took=1ms`},
		"a probe that says no": {func(a *accessLog) {
			a.request(web.Request{Remote: "192.0.2.9:5", Method: "GET", Path: "/readyz", Status: 503, Why: "no leader"})
		}, false, `port=http address=192.0.2.9:5 method="GET /readyz" detail="no leader"`},
		"a refused request": {func(a *accessLog) {
			a.request(web.Request{Remote: "192.0.2.9:5", Method: "PUT", Path: "/x", Status: 405, Refused: true, Why: "GET and HEAD only"})
		}, true, `port=http address=192.0.2.9:5 method="PUT /x" reason=405 detail="GET and HEAD only"`},
		"a connection that net/http gave up": {func(a *accessLog) { _, _ = a.Write([]byte("http: bad\n")) }, true,
			`port=http address="" reason=connection detail="http: bad"`},
		"no member": {func(a *accessLog) { a.peer(from, &noMemberError{cert, errors.New("no member")}) }, true,
			"port=peer address=192.0.2.9:5 principal=" + string(cert.ID) + " serial=" + serialOf(cert) + ` method=hello reason=no_member detail="no member"`},
		"a member's hello": {func(a *accessLog) { a.peer(from, errors.New("another cluster")) }, true,
			`port=peer address=192.0.2.9:5 method=hello reason=hello detail="another cluster"`},
	} {
		for _, all := range []bool{false, true} {
			w := newAccessWorld()
			w.all.Store(all)
			x.note(w.accessLog)
			got := w.lines()
			if !x.refused && !all {
				if len(got) != 0 {
					t.Errorf("%s has a line that nobody asked for: %q", name, got)
				}
				continue
			}
			msg := map[bool]string{true: "msg=refused ", false: "msg=access "}[x.refused]
			if len(got) != 1 || !strings.HasSuffix(got[0], msg+x.want) {
				t.Errorf("%s: %q, want one line that ends with\n%s", name, got, msg+x.want)
			}
		}
	}
}
