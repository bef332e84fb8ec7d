package folder

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/settlement/gateway"
	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// echo answers a message by what is in it: one with REJECT is rejected, one with TEXT gets a text.
type echo struct {
	err   error // of every call, after the first half of its messages
	calls int
	got   map[string]int // messages, by what is in them
}

func replyTo(raw []byte) *gateway.Answer {
	a := &gateway.Answer{ReplyID: fmt.Sprintf("ID-%x", sha256.Sum256(raw)), Definition: "pacs.002.001.10", Rejected: strings.Contains(string(raw), "REJECT")}
	if strings.Contains(string(raw), "TEXT") {
		a.Definition = ""
	}
	if told(raw) > 0 {
		a.Follow = string(raw)
	}
	a.Reply = []byte(a.ReplyID + " answers " + string(raw[:min(len(raw), 100)]))
	return a
}

func (e *echo) AnswerAll(_ context.Context, in []gateway.Incoming) ([]*gateway.Answer, error) {
	e.calls++
	answers := make([]*gateway.Answer, len(in))
	for i := range in {
		if e.err != nil && i >= len(in)/2 {
			return answers, e.err
		}
		if e.got == nil {
			e.got = make(map[string]int)
		}
		e.got[string(in[i].Raw[:min(len(in[i].Raw), 100)])]++
		answers[i] = replyTo(in[i].Raw)
	}
	return answers, nil
}

// told says how often an instruction is told about. The message says it: FOLLOW 3 is told about thrice.
func told(raw []byte) int {
	_, rest, found := strings.Cut(string(raw), "FOLLOW ")
	if !found {
		return 0
	}
	n, _ := strconv.Atoi(rest[:1])
	return n
}

// Follow tells about one entry at a time, and then that there is no more. Entries have the indexes 1,
// 2 and so on.
func (e *echo) Follow(_ context.Context, raw []byte, from gateway.Followed, now time.Time) ([]gateway.Notice, gateway.Followed, bool, error) {
	if e.err != nil {
		return nil, from, false, e.err
	}
	n := from.Last + 1
	if n > uint64(told(raw)) {
		return nil, from, true, nil
	}
	return []gateway.Notice{noticeOf(raw, n)}, gateway.Followed{Last: n, Settled: "x"}, n == uint64(told(raw)) && n%2 == 0, nil
}

func noticeOf(raw []byte, n uint64) gateway.Notice {
	return gateway.Notice{Index: n, Reply: []byte(fmt.Sprintf("entry %d tells about %s", n, raw)), Definition: "sese.025.001.12"}
}

// pair is a pair of folders of a test.
type pair struct {
	t       *testing.T
	in, out string
}

func newPair(t *testing.T) pair {
	t.Helper()
	dir := t.TempDir()
	p := pair{t, filepath.Join(dir, "in"), filepath.Join(dir, "out")}
	for _, d := range []string{p.in, p.out} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// put writes a file that was finished an hour ago.
func (p pair) put(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.in, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		p.t.Fatal(err)
	}
}

func (p pair) open(o Options) *Folder {
	p.t.Helper()
	f, err := Open(p.in, p.out, o)
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

// once runs until nothing is left to do.
func (p pair) once(a Answerer) (left int) {
	p.t.Helper()
	f := p.open(Options{Quiet: time.Millisecond})
	defer f.Close()
	left, err := f.Once(p.t.Context(), a)
	if err != nil {
		p.t.Fatal(err)
	}
	return left
}

// tree returns what files hold, by their path below dir.
func (p pair) tree(dir string) map[string]string {
	p.t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == lockFile {
			return err
		}
		raw, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		all[rel] = string(raw)
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return all
}

// check demands that every text is in exactly one file of done and rejected, that its reply exists
// exactly once, and that there is nothing else.
func (p pair) check(what string, texts ...string) {
	p.t.Helper()
	in, out := p.tree(p.in), p.tree(p.out)
	count := make(map[string]int)
	notes := make(map[string]int)
	for path, text := range in {
		folder, name := filepath.Split(path)
		if folder == closedFolder+"/" {
			var n note
			if err := json.Unmarshal([]byte(text), &n); err != nil {
				p.t.Errorf("%s: the note %s: %v", what, name, err)
			}
			raw := n.Instruction // the message is not in it any more
			if notes[raw]++; notes[raw] > 1 || noteKey(raw) != name || told([]byte(raw)) == 0 {
				p.t.Errorf("%s: the note %s is about %q, one of %d", what, name, raw, notes[raw])
			}
			for n := 1; n <= told([]byte(raw)); n++ {
				want := noticeOf([]byte(raw), uint64(n))
				for file := range out {
					if strings.HasSuffix(file, fmt.Sprintf(".sese.025-%d-%s.xml", n, name[:8])) {
						if out[file] != string(want.Reply) {
							p.t.Errorf("%s: %s is %q", what, file, out[file])
						}
						notes[fmt.Sprintf("%s told %d", raw, n)]++
						delete(out, file)
					}
				}
				if got := notes[fmt.Sprintf("%s told %d", raw, n)]; got != 1 {
					p.t.Errorf("%s: entry %d of %q is told %d times", what, n, raw, got)
				}
			}
			continue
		}
		if name == noteAside {
			continue
		}
		count[text]++
		want := replyTo([]byte(text))
		if folder != folderOf(want)+"/" {
			p.t.Errorf("%s: %s holds %q", what, path, text)
		}
		if got := out[name+extension(want)]; got != string(want.Reply) {
			p.t.Errorf("%s: the reply to %s is %q", what, path, got)
		}
		delete(out, name+extension(want))
		if told([]byte(text)) > 0 && in[closedFolder+"/"+noteKey(text)] == "" {
			p.t.Errorf("%s: %s has no note", what, path)
		}
	}
	for _, text := range texts {
		count[text]--
	}
	for text, n := range count {
		if n != 0 {
			p.t.Errorf("%s: %d files too many or too few hold %q: %v", what, n, text, in)
		}
	}
	if len(out) > 0 {
		p.t.Errorf("%s: there are other replies: %v", what, out)
	}
}

// noted says whether there is a note about an instruction.
func (p pair) noted(instruction string) bool {
	return slices.ContainsFunc([]string{openFolder, closedFolder}, func(dir string) bool {
		_, err := os.Stat(filepath.Join(p.in, dir, noteKey(instruction)))
		return err == nil
	})
}

// notes returns how many instructions are followed.
func (p pair) notes() int {
	p.t.Helper()
	open, err := filepath.Glob(filepath.Join(p.in, openFolder, "[0-9a-f]*"))
	if err != nil {
		p.t.Fatal(err)
	}
	return len(open)
}

func TestFolder(t *testing.T) {
	p := newPair(t)
	p.put("a.xml", "first")
	p.put("b.xml", "REJECT this")
	p.put("c", "TEXT")
	p.put("d.xml", "TEXT REJECT")
	e := &echo{}
	if left := p.once(e); left != 0 {
		t.Errorf("%d files are left", left)
	}
	p.check("four files", "first", "REJECT this", "TEXT", "TEXT REJECT")
	if e.calls != 1 {
		t.Errorf("%d calls", e.calls)
	}
	// Names that were used before, with the same text and with another one.
	p.put("a.xml", "first")
	p.once(e)
	p.put("a.xml", "REJECT now")
	p.put("a.xml~2", "a file of the name of another one")
	p.once(e)
	p.check("names again", "first", "REJECT this", "TEXT", "TEXT REJECT", "first", "REJECT now", "a file of the name of another one")
	for _, name := range []string{"done/a.xml", "done/a.xml~2", "rejected/a.xml~3", "done/a.xml~2~2"} {
		if _, err := os.Stat(filepath.Join(p.in, name)); err != nil {
			t.Error(err)
		}
	}
	// A file whose name is free again, while the reply of an earlier one is still there.
	if err := os.Remove(filepath.Join(p.in, "done/a.xml")); err != nil {
		t.Fatal(err)
	}
	p.put("a.xml", "another message")
	p.once(e)
	if out := p.tree(p.out); !strings.Contains(out["a.xml.reply.xml"], "first") || !strings.Contains(out["a.xml~4.reply.xml"], "another message") {
		t.Errorf("the replies are %v", out)
	}
}

// TestLeft: what is still being written is left, and what is no file.
func TestLeft(t *testing.T) {
	p := newPair(t)
	for _, name := range []string{"a.xml.tmp", "b.PART", "c.filepart", "d~", ".hidden", ".e.xml.swp"} {
		p.put(name, name)
	}
	if err := os.WriteFile(filepath.Join(p.in, "fresh"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(p.in, "sub.xml"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(p.in, "link.xml")); err != nil {
		t.Fatal(err)
	}
	p.put("empty", "")
	p.put("ready", "ready")
	f := p.open(Options{Quiet: time.Minute})
	defer f.Close()
	now := time.Now()
	f.now = func() time.Time { return now }
	e := &echo{}
	pass := func() (int, int) {
		t.Helper()
		worked, waiting, err := f.Pass(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		return worked, waiting
	}
	if worked, waiting := pass(); worked != 2 || waiting != 5 { // ready, and the empty one of an hour ago
		t.Errorf("%d files are answered, %d wait", worked, waiting)
	}
	// It grows, and is quiet for less than a minute after that.
	now = now.Add(59 * time.Second)
	if err := os.WriteFile(filepath.Join(p.in, "fresh"), []byte("xx"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(p.in, "fresh"), now, now); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if worked, _ := pass(); worked != 0 {
			t.Error("a growing file is answered")
		}
		now = now.Add(59 * time.Second)
	}
	now = now.Add(2 * time.Second)
	if worked, waiting := pass(); worked != 1 || waiting != 4 {
		t.Errorf("%d files are answered, %d wait", worked, waiting)
	}
	if e.got["xx"] != 1 || e.got["x"] != 0 {
		t.Errorf("what was read is %v", e.got)
	}
	// A file with a time in the future is waited for until it is quiet.
	p.put("future", "future")
	later := now.Add(time.Hour)
	if err := os.Chtimes(filepath.Join(p.in, "future"), later, later); err != nil {
		t.Fatal(err)
	}
	if worked, _ := pass(); worked != 0 {
		t.Error("a file of the future is answered at once")
	}
	now = now.Add(time.Minute)
	if worked, _ := pass(); worked != 1 {
		t.Error("a file of the future is not answered")
	}
	for _, name := range []string{"sub.xml", "link.xml", ".hidden"} {
		if _, err := os.Lstat(filepath.Join(p.in, name)); err != nil {
			t.Error(err)
		}
	}
}

// TestLedgerFails: the files whose messages got no answer wait.
func TestLedgerFails(t *testing.T) {
	p := newPair(t)
	for i := range 10 {
		p.put(fmt.Sprintf("%02d", i), fmt.Sprintf("message %d", i))
	}
	e := &echo{err: errors.New("no leader")}
	f := p.open(Options{Quiet: time.Millisecond})
	defer f.Close()
	if _, err := f.Once(t.Context(), e); !errors.Is(err, e.err) {
		t.Errorf("the error is %v", err)
	}
	if in := p.tree(p.in); in["done/04"] == "" || in["05"] == "" {
		t.Errorf("the folder holds %v", in)
	}
	var events []Event
	f.o.Report = func(e Event) { events = append(events, e) }
	ctx, cancel := context.WithCancel(t.Context())
	f.o.Poll = time.Millisecond
	done := make(chan error)
	go func() {
		done <- f.Run(ctx, answerer(func(n int) error { return map[bool]error{true: e.err, false: nil}[n < 3] }))
	}()
	for deadline := time.Now().Add(10 * time.Second); len(p.tree(filepath.Join(p.in, doneFolder))) < 10 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	p.check("after the failure", texts(10)...)
	failures := 0
	for _, e := range events {
		if e.Err != nil {
			failures++
		} else if e.Moved != "done/"+e.File || e.Reply != e.File+".reply.xml" || e.Answer == nil {
			t.Errorf("the event is %+v", e)
		}
	}
	if failures < 1 || len(events)-failures != 5 {
		t.Errorf("%d events, %d of them failures", len(events), failures)
	}
}

func texts(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("message %d", i))
	}
	return all
}

// answerer answers like echo, with errors by the number of the call.
func answerer(err func(call int) error) Answerer { return &failing{err: err} }

type failing struct {
	echo
	err func(call int) error
}

func (f *failing) AnswerAll(ctx context.Context, in []gateway.Incoming) ([]*gateway.Answer, error) {
	f.echo.err = f.err(f.calls)
	return f.echo.AnswerAll(ctx, in)
}

// TestOpen: what cannot work is refused at once.
func TestOpen(t *testing.T) {
	p := newPair(t)
	f := p.open(Options{})
	if _, err := Open(p.in, p.out, Options{}); err == nil || !strings.Contains(err.Error(), "another gateway works on") {
		t.Errorf("a second gateway: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{p.in, p.in + "/done", p.in + "/../in/rejected"} {
		if _, err := Open(p.in, out, Options{}); err == nil || !strings.Contains(err.Error(), "name another folder") {
			t.Errorf("replies into %s: %v", out, err)
		}
	}
	if err := os.WriteFile(filepath.Join(p.out, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(p.out+"/file", p.out, Options{}); err == nil {
		t.Error("a file is taken for a folder")
	}
	if err := os.WriteFile(filepath.Join(p.out, asidePrefix+"x"+asideSuffix), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p.open(Options{}).Close()
	if out := p.tree(p.out); len(out) != 1 {
		t.Errorf("what was left aside is still there: %v", out)
	}
}

// TestNames: whatever a file is called, its reply has a name of its own.
func TestNames(t *testing.T) {
	p := newPair(t)
	names := []string{"a b", "a\nb", "\xff\xfe.xml", "ü.xml", "-rf", "$(x)", strings.Repeat("x", 255), strings.Repeat("x", 254) + "y", strings.Repeat("ü", 120) + ".xml", "x.reply.xml"}
	for i, name := range names {
		p.put(name, fmt.Sprintf("message %d", i))
	}
	p.once(&echo{})
	p.check("names", texts(len(names))...)
}

// TestHostileSizes: of a file that is too large only the beginning is given to the gateway, and it is
// said that there is more.
func TestHostileSizes(t *testing.T) {
	p := newPair(t)
	path := filepath.Join(p.in, "large.xml")
	p.put("large.xml", "REJECT")
	if err := os.Truncate(path, 50<<20); err != nil {
		t.Fatal(err)
	}
	var got gateway.Incoming
	f := p.open(Options{Quiet: time.Nanosecond})
	defer f.Close()
	_, err := f.Once(t.Context(), answererFunc(func(in []gateway.Incoming) []*gateway.Answer {
		got = in[0]
		return []*gateway.Answer{replyTo(in[0].Raw)}
	}))
	if err != nil || !got.Oversize || len(got.Raw) != xmltree.DefaultBytes+1 {
		t.Errorf("%d bytes, oversize %v: %v", len(got.Raw), got.Oversize, err)
	}
	if info, err := os.Stat(filepath.Join(p.in, "rejected", "large.xml")); err != nil || info.Size() != 50<<20 {
		t.Errorf("%v, %v", info, err)
	}
}

type answererFunc func(in []gateway.Incoming) []*gateway.Answer

func (answererFunc) Follow(context.Context, []byte, gateway.Followed, time.Time) ([]gateway.Notice, gateway.Followed, bool, error) {
	return nil, gateway.Followed{}, true, nil
}

func (f answererFunc) AnswerAll(_ context.Context, in []gateway.Incoming) ([]*gateway.Answer, error) {
	return f(in), nil
}

// TestUnreadable: a file that cannot be read does not stand in the way of others, and is reported
// once.
func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("root reads every file: the file is made unreadable by the file system of the test")
	}
	p := newPair(t)
	p.put("bad", "bad")
	p.put("good", "message 0")
	events := 0
	f := p.open(Options{Quiet: time.Nanosecond, Report: func(e Event) {
		if e.Err != nil {
			events++
		}
	}})
	defer f.Close()
	f.fs = unreadable{disk{}}
	for range 3 {
		if _, _, err := f.Pass(t.Context(), &echo{}); err != nil {
			t.Fatal(err)
		}
	}
	if in := p.tree(p.in); in["done/good"] == "" || in["bad"] == "" || events != 1 {
		t.Errorf("%v, %d events", in, events)
	}
}

type unreadable struct{ disk }

func (unreadable) read(path string, most int) ([]byte, fs.FileInfo, error) {
	if filepath.Base(path) == "bad" {
		return nil, nil, fs.ErrPermission
	}
	return disk{}.read(path, most)
}

// mortal is a file system that ends at an operation.
type mortal struct {
	disk
	left   int  // operations that change something, until the end
	halved bool // the last operation is half done, where it can be
	dead   bool

	// unsynced are the renames since the last sync of the folder that they went into or came from.
	unsynced []renamed
}

type renamed struct {
	from, to string
	old      []byte // what to held before
	replaced bool
}

var errDead = errors.New("the process was killed")

// step says whether an operation takes place.
func (m *mortal) step() (bool, error) {
	if m.dead {
		return false, errDead
	}
	if m.left == 0 {
		m.dead = true
		return m.halved, errDead
	}
	m.left--
	return true, nil
}

func (m *mortal) write(all ...written) error {
	for _, w := range all {
		does, err := m.step()
		if err != nil && does {
			_ = os.WriteFile(w.path, w.data[:len(w.data)/2], 0o644)
		}
		if err == nil {
			err = w.write()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *mortal) rename(from, to string) error {
	does, err := m.step()
	if does {
		old, missing := os.ReadFile(to)
		if err := m.disk.rename(from, to); err != nil {
			return err
		}
		m.unsynced = append(m.unsynced, renamed{from, to, old, missing == nil})
	}
	return err
}

func (m *mortal) remove(path string) error {
	does, err := m.step()
	if does {
		if err := m.disk.remove(path); err != nil {
			return err
		}
	}
	return err
}

func (m *mortal) sync(dir string) error {
	does, err := m.step()
	if does {
		kept := m.unsynced[:0]
		for _, r := range m.unsynced {
			if filepath.Dir(r.to) != dir {
				kept = append(kept, r)
			}
		}
		m.unsynced = kept
	}
	return err
}

// powerFails takes back some of the renames that no sync has made durable.
func (m *mortal) powerFails(t *testing.T, lost func(r renamed) bool) {
	t.Helper()
	for i := len(m.unsynced) - 1; i >= 0; i-- {
		if r := m.unsynced[i]; lost(r) {
			if err := os.Rename(r.to, r.from); err != nil {
				t.Fatal(err)
			}
			if r.replaced {
				if err := os.WriteFile(r.to, r.old, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestKilledAnywhere ends a run at every operation, before it, in the middle of it and after it, with
// and without a failure of the power, again and again until all files are answered. Before every
// restart each file that was moved has its reply.
func TestKilledAnywhere(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	crashes := 0
	for point := 0; ; point++ {
		ended := false
		for i := range 3 { // of six, the other three at the next operation
			variant := (point + 2*i) % 6
			p := newPair(t)
			for i := range 3 {
				p.put(fmt.Sprintf("m%d", i), fmt.Sprintf("message %d", i))
			}
			p.put("m3", "TEXT REJECT message 3")
			p.put("m4", "FOLLOW 2")
			p.put("m5", "FOLLOW 3")
			p.put("m6", "FOLLOW 2") // the same again
			for n, at := 0, point; ; n++ {
				f := p.open(Options{Quiet: time.Nanosecond})
				m := &mortal{left: at, halved: variant%2 == 1}
				f.fs = m
				_, err := f.Once(t.Context(), &echo{})
				for err == nil && p.notes() > 0 {
					_, err = f.Once(t.Context(), &echo{})
				}
				f.Close()
				if err == nil {
					ended = n == 0
					break
				}
				if !errors.Is(err, errDead) {
					t.Fatal(err)
				}
				crashes++
				switch variant / 2 {
				case 1: // all that is not synced is lost
					m.powerFails(t, func(renamed) bool { return true })
				case 2: // names of replies are lost, moves of files are not
					m.powerFails(t, func(r renamed) bool { return strings.HasPrefix(r.to, p.out) })
				}
				out := p.tree(p.out)
				for path, text := range p.tree(p.in) {
					dir, name := filepath.Split(path)
					if isNote := dir == openFolder+"/" || dir == closedFolder+"/"; isNote {
						continue
					}
					if told([]byte(text)) > 0 && dir != "" && !p.noted(text) {
						t.Fatalf("killed at operation %d, variant %d: %s was moved and has no note", at, variant, path)
					}
					if dir != "" && out[name+extension(replyTo([]byte(text)))] == "" {
						t.Fatalf("killed at operation %d, variant %d: %s was moved and has no reply: %v", at, variant, path, out)
					}
				}
				at = rng.IntN(30)
			}
			p.check(fmt.Sprintf("killed at operation %d, variant %d", point, variant), "message 0", "message 1", "message 2", "TEXT REJECT message 3", "FOLLOW 2", "FOLLOW 3", "FOLLOW 2")
		}
		if ended {
			break
		}
	}
	t.Logf("killed %d times", crashes)
	if crashes < 50 {
		t.Errorf("only %d times: this proves little", crashes)
	}
}
