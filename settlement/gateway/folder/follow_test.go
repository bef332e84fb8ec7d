package folder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/settlement/gateway"
)

// TestFollow: what becomes of an instruction is told entry by entry, and once: not again when the same
// message comes again, whether the instruction is open or closed, and whoever takes the notices away.
func TestFollow(t *testing.T) {
	p := newPair(t)
	p.put("a", "FOLLOW 3")
	e := &echo{}
	for n := 1; n <= 4; n++ {
		p.once(e)
		out := p.tree(p.out)
		key := noteKey("FOLLOW 3")[:8]
		for i := 1; i <= 3; i++ {
			name := "a.sese.025-" + string(rune('0'+i)) + "-" + key + ".xml"
			if _, there := out[name]; there != (i == n) {
				t.Errorf("after %d passes %s is there: %v; out has %v", n, name, there, out)
			}
			_ = os.Remove(filepath.Join(p.out, name)) // somebody takes it away
		}
		if n == 2 {
			p.put("b", "FOLLOW 3") // the same again
		}
	}
	if p.notes() != 0 || !p.noted("FOLLOW 3") {
		t.Error("the note is not closed")
	}
	p.put("c", "FOLLOW 3")
	p.once(e)
	for name := range p.tree(p.out) {
		if strings.Contains(name, "sese.025") {
			t.Errorf("%s is told again", name)
		}
	}
}

// waiter tells of an instruction once what it waits for.
type waiter struct{}

func (*waiter) AnswerAll(_ context.Context, in []gateway.Incoming) ([]*gateway.Answer, error) {
	return []*gateway.Answer{{Reply: []byte("r"), Definition: "sese.024.001.13", Follow: string(in[0].Raw), State: "unmatched"}}, nil
}

func (*waiter) Follow(_ context.Context, _ []byte, from gateway.Followed, _ time.Time) ([]gateway.Notice, gateway.Followed, bool, error) {
	if from.State != "unmatched" {
		return nil, from, false, nil
	}
	return []gateway.Notice{{Index: 7, Reply: []byte("held"), Definition: "sese.024.001.13", State: "1-held"}}, gateway.Followed{State: "held", States: 1}, false, nil
}

// TestFollowState: the note begins with the state that the answer told, and what is told next has the
// state in its name.
func TestFollowState(t *testing.T) {
	p := newPair(t)
	p.put("a", "FOLLOW 1")
	for range 3 {
		p.once(&waiter{})
	}
	name := "a.sese.024-1-held-" + noteKey("FOLLOW 1")[:8] + ".xml"
	if out := p.tree(p.out); len(out) != 2 || out[name] != "held" {
		t.Errorf("out has %v, want the answer and %s", out, name)
	}
}

// TestClosedNotesGo: a closed note has no message in it, and goes when it is older than Options.Keep.
func TestClosedNotesGo(t *testing.T) {
	p := newPair(t)
	p.put("a", "FOLLOW 2")
	closed := filepath.Join(p.in, closedFolder, noteKey("FOLLOW 2"))
	f := p.open(Options{Quiet: 1, Keep: time.Hour})
	defer f.Close()
	for range 3 {
		if _, err := f.Once(t.Context(), &echo{}); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(closed)
	if err != nil || bytes.Count(raw, []byte("\n")) != 1 || bytes.HasSuffix(raw, []byte("FOLLOW 2")) {
		t.Fatalf("the closed note is %q, %v", raw, err)
	}
	now := time.Now()
	for _, c := range []struct {
		later time.Duration
		there bool
	}{{59 * time.Minute, true}, {61 * time.Minute, false}} {
		f.now = func() time.Time { return now.Add(c.later) }
		if err := f.forget(); err != nil {
			t.Fatal(err)
		}
		if p.noted("FOLLOW 2") != c.there {
			t.Errorf("after %s there is a note: %v", c.later, !c.there)
		}
	}
}

// TestFollowMany: one run looks at every note, also where most of them are closed on the way.
func TestFollowMany(t *testing.T) {
	p := newPair(t)
	const n = 3*sweep + 10
	for i := range n {
		p.put(fmt.Sprint("m", i), fmt.Sprint("FOLLOW 2 in message ", i))
	}
	for range 2 {
		p.once(&echo{})
	}
	if p.notes() != 0 {
		t.Errorf("%d of %d notes are open", p.notes(), n)
	}
	told := 0
	for name := range p.tree(p.out) {
		if strings.Contains(name, ".sese.025-") {
			told++
		}
	}
	if told != 2*n {
		t.Errorf("%d notices, want %d", told, 2*n)
	}
}

// TestFollowFails: a note that cannot be followed is reported once, until it can be, and holds up
// neither the others nor messages.
func TestFollowFails(t *testing.T) {
	p := newPair(t)
	p.put("a", "FOLLOW 1")
	p.put("b", "FOLLOW 2")
	p.put("c", "FOLLOW 4")
	failures := 0
	f := p.open(Options{Quiet: 1, Report: func(e Event) {
		if e.Err != nil {
			failures++
		}
	}})
	defer f.Close()
	if _, err := f.answer(t.Context(), &echo{}); err != nil {
		t.Fatal(err)
	}
	bad := &picky{bad: "FOLLOW 2"}
	for range 20 {
		_, _, _ = f.follow(t.Context(), bad, 1)
	}
	if failures != 1 || p.notes() != 1 {
		t.Errorf("%d failures are reported, %d notes are open", failures, p.notes())
	}
	if err := f.followAll(t.Context(), bad); err == nil {
		t.Error("the failure is not returned")
	}
	bad.bad = ""
	for range 3 {
		if err := f.followAll(t.Context(), bad); err != nil {
			t.Error(err)
		}
	}
	if p.notes() != 0 {
		t.Error("what can be followed again is not")
	}
	// What is no note stops nothing.
	if err := os.WriteFile(filepath.Join(p.in, openFolder, "nonsense"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	p.put("d", "FOLLOW 6")
	for range 3 {
		if _, err := f.Once(t.Context(), &echo{}); err == nil || !strings.Contains(err.Error(), "is no note of a gateway") {
			t.Errorf("what is no note: %v", err)
		}
	}
	if out := p.tree(p.out); out["d.sese.025-3-"+noteKey("FOLLOW 6")[:8]+".xml"] == "" {
		t.Errorf("the replies are %v", out)
	}
}

// picky cannot follow one instruction.
type picky struct {
	echo
	bad string
}

func (p *picky) Follow(ctx context.Context, raw []byte, from gateway.Followed, now time.Time) ([]gateway.Notice, gateway.Followed, bool, error) {
	if string(raw) == p.bad {
		return nil, from, false, errors.New("the ledger does not tell")
	}
	return p.echo.Follow(ctx, raw, from, now)
}
