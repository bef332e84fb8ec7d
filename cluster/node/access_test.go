package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

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

// TestAccessLogText: nothing that a stranger chose breaks a line or is long.
func TestAccessLogText(t *testing.T) {
	t.Parallel()
	w := newAccessWorld()
	evil := "a\nnode=n1 msg=forged\x1b[2J\u009b\u202e" + strings.Repeat("x", 1000) + "\xff"
	w.note(access{port: "api", remote: textAddr(evil), principal: evil, serial: evil, method: evil, reason: evil, detail: evil})
	got := w.lines()
	if len(got) != 1 || len(got[0]) > 6*(maxStrangerText+50)*2 {
		t.Fatalf("%d lines", len(got))
	}
	for _, r := range got[0] {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x202e {
			t.Errorf("%q has the character %U", got[0], r)
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
