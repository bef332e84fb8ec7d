package folder

import (
	"cmp"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement/gateway"
	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// Answerer answers messages in their order; *gateway.Gateway is one. After an error the answers that
// are not nil count.
type Answerer interface {
	AnswerAll(ctx context.Context, in []gateway.Incoming) ([]*gateway.Answer, error)
	// Follow returns what is to be told about the instruction of a message, from a place on.
	Follow(ctx context.Context, raw []byte, from gateway.Followed, now time.Time) (notices []gateway.Notice, to gateway.Followed, final bool, err error)
}

// Options are how a folder is worked on. The zero value is a good choice.
type Options struct {
	// Quiet is for how long a file has to stay as it is before it is read; 0 is DefaultQuiet.
	Quiet time.Duration
	// Poll is how long the folder is left alone when nothing waits; 0 is DefaultPoll.
	Poll time.Duration
	// Keep is for how long it is known that everything was told about an instruction; 0 is DefaultKeep.
	// When its message comes again later, it is told about anew.
	Keep time.Duration
	// Report, if it is not nil, is told what was done.
	Report func(Event)
}

// The defaults of Options.
const (
	DefaultQuiet = time.Second
	DefaultPoll  = 250 * time.Millisecond
	DefaultKeep  = 90 * 24 * time.Hour
)

// Event is something that was done, or could not be done.
type Event struct {
	File   string // path, relative to the folder in
	Moved  string // path of the file now, relative to the folder in; "" while it waits
	Reply  string // path of the reply, relative to the folder out
	Answer *gateway.Answer
	// Notice is the path, relative to the folder out, of a message that tells what became of an
	// instruction whose file is done already; Index is the entry that it is about.
	Notice string
	Index  uint64
	Err    error // the file waits, and is tried again
}

// Folder is a pair of folders that this process works on. It has one owner.
type Folder struct {
	in, out string
	o       Options
	fs      files
	lock    *os.File
	now     func() time.Time
	// seen is what each file was when it was first seen as it is now.
	seen map[string]sighting
	// unreadable are the files that were reported because they cannot be read, as they were then.
	unreadable map[string]sighting
	// followed is the key of the note that was looked at last, and failing are those that could not be
	// followed the last time, and were reported.
	followed string
	failing  map[string]bool
	forgot   time.Time // when old notes were looked for last
}

type sighting struct {
	size int64
	time time.Time // modification
	at   time.Time // when it was first seen so
}

const (
	doneFolder     = "done"
	rejectedFolder = "rejected"
	lockFile       = ".cairn-gateway.lock"
	asidePrefix    = ".cairn-reply-"
	asideSuffix    = ".tmp"
)

// Open makes the folders that are missing, takes the lock, and removes what an earlier run has left
// aside.
func Open(in, out string, o Options) (*Folder, error) {
	f := &Folder{in: in, out: out, o: o, fs: disk{}, now: time.Now, seen: make(map[string]sighting), unreadable: make(map[string]sighting), failing: make(map[string]bool)}
	f.o.Quiet, f.o.Poll, f.o.Keep = cmp.Or(o.Quiet, DefaultQuiet), cmp.Or(o.Poll, DefaultPoll), cmp.Or(o.Keep, DefaultKeep)
	inside := []string{in}
	for _, name := range []string{doneFolder, rejectedFolder, openFolder, closedFolder} {
		inside = append(inside, filepath.Join(in, name))
	}
	for _, dir := range append(slices.Clone(inside), out) {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, errors.Wrap(err, "make the folders of the gateway")
		}
	}
	a, err := os.Stat(in)
	if err != nil {
		return nil, err
	}
	for _, dir := range inside {
		if info, err := os.Stat(dir); err == nil {
			if b, err := os.Stat(out); err == nil && os.SameFile(info, b) {
				return nil, errors.Newf("the replies would go into %s, where messages are: name another folder", out)
			}
		}
	}
	if !a.IsDir() {
		return nil, errors.Newf("%s is no folder", in)
	}
	if f.lock, err = os.OpenFile(filepath.Join(in, lockFile), os.O_CREATE|os.O_RDWR, 0o666); err != nil {
		return nil, errors.Wrap(err, "open the lock of the folder")
	}
	if err := lock(f.lock); err != nil {
		_ = f.lock.Close()
		return nil, errors.Wrapf(err, "another gateway works on %s", in)
	}
	return f, f.tidy()
}

// tidy removes replies that were written aside and got no name, and notes that are not needed.
func (f *Folder) tidy() error {
	infos, err := f.fs.list(f.out)
	if err != nil {
		return err
	}
	for _, info := range infos {
		if strings.HasPrefix(info.Name(), asidePrefix) && strings.HasSuffix(info.Name(), asideSuffix) {
			if err := f.fs.remove(filepath.Join(f.out, info.Name())); err != nil {
				return err
			}
		}
	}
	return f.forget()
}

// Close gives the lock back.
func (f *Folder) Close() error { return f.lock.Close() }

// Run answers what comes until the context ends, which is no error. While the ledger or the disk
// fails, the files wait, and Run tries again after a pause.
func (f *Folder) Run(ctx context.Context, a Answerer) error {
	pause := f.o.Poll
	var followed time.Time
	for {
		worked, _, err := f.Pass(ctx, a)
		// Messages go first, but not for ever. What cannot be followed is reported, and does not hold
		// messages up.
		if err == nil && (worked == 0 || time.Since(followed) > time.Second) {
			_, _, _ = f.follow(ctx, a, sweep)
			followed = time.Now()
			if f.now().Sub(f.forgot) > forgetEvery {
				err = f.forget()
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			f.report(Event{Err: err})
			pause = min(2*pause, maxPause)
		default:
			pause = f.o.Poll
		}
		if worked > 0 && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// maxPause is the longest pause after a failure.
const maxPause = 5 * time.Second

// Once answers what is there, tells what is to be told about instructions, and returns how many files
// it left because they are still being written.
func (f *Folder) Once(ctx context.Context, a Answerer) (left int, err error) {
	if left, err = f.answer(ctx, a); err != nil {
		return left, err
	}
	return left, f.followAll(ctx, a)
}

// answer answers what is there.
func (f *Folder) answer(ctx context.Context, a Answerer) (left int, err error) {
	for pass := 0; ; {
		worked, waiting, err := f.Pass(ctx, a)
		if err != nil {
			return waiting, err
		}
		if worked > 0 {
			continue
		}
		if pass++; waiting == 0 || pass == 2 {
			return waiting, nil
		}
		select {
		case <-ctx.Done():
			return waiting, ctx.Err()
		case <-time.After(f.o.Quiet):
		}
	}
}

const (
	// maxFiles and maxBytes bound what is read and answered together.
	maxFiles = 64
	maxBytes = 4 << 20
)

// message is a file that was read.
type message struct {
	name   string
	in     gateway.Incoming
	answer *gateway.Answer
}

// Pass answers the files that are ready now, up to a bound. It returns how many it has moved and how
// many wait because they are still being written.
func (f *Folder) Pass(ctx context.Context, a Answerer) (worked, waiting int, err error) {
	ready, waiting, err := f.ready()
	if err != nil {
		return 0, waiting, err
	}
	var batch []message
	size := 0
	for _, name := range ready {
		if len(batch) == maxFiles || size > maxBytes {
			break
		}
		m, ok, err := f.read(name)
		if err != nil {
			if f.unreadable[name] != f.seen[name] {
				f.unreadable[name] = f.seen[name]
				f.report(Event{File: name, Err: err})
			}
			continue
		}
		if ok {
			batch, size = append(batch, m), size+len(m.in.Raw)
		}
	}
	if len(batch) == 0 {
		return 0, waiting, nil
	}
	in := make([]gateway.Incoming, len(batch))
	for i := range batch {
		in[i] = batch[i].in
	}
	answers, failed := a.AnswerAll(ctx, in)
	var done []message
	for i := range answers {
		if batch[i].answer = answers[i]; answers[i] != nil {
			done = append(done, batch[i])
		}
	}
	if err := f.finish(done); err != nil {
		return 0, waiting, err
	}
	return len(done), waiting, failed
}

// ready returns the files that nobody writes any more, in the order in which they came, and how many
// others there are.
func (f *Folder) ready() (names []string, waiting int, err error) {
	infos, err := f.fs.list(f.in)
	if err != nil {
		return nil, 0, errors.Wrap(err, "read the folder")
	}
	slices.SortStableFunc(infos, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), strings.Compare(a.Name(), b.Name()))
	})
	now := f.now()
	seen := make(map[string]sighting, len(infos))
	for _, info := range infos {
		name := info.Name()
		if !info.Mode().IsRegular() || strings.HasPrefix(name, ".") {
			continue
		}
		s := sighting{info.Size(), info.ModTime(), now}
		if before, found := f.seen[name]; found && before.size == s.size && before.time.Equal(s.time) {
			s.at = before.at
		}
		seen[name] = s
		quiet := f.o.Quiet
		if s.size == 0 {
			quiet *= 10 // created, and not written yet
		}
		if temporary(name) || now.Sub(s.at) < quiet && now.Sub(s.time) < quiet {
			waiting++
			continue
		}
		names = append(names, name)
	}
	f.seen = seen
	return names, waiting, nil
}

// temporarySuffixes are what programs put behind the name of a file that they are writing.
var temporarySuffixes = []string{".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".download", ".swp", ".writing", "~"}

func temporary(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(temporarySuffixes, func(s string) bool { return strings.HasSuffix(name, s) })
}

// read reads a file. It is not ok when the file is gone, or has changed since it was seen.
func (f *Folder) read(name string) (m message, ok bool, err error) {
	raw, info, err := f.fs.read(filepath.Join(f.in, name), xmltree.DefaultBytes+1)
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	if err != nil {
		return m, false, err
	}
	s := f.seen[name]
	if !info.ModTime().Equal(s.time) || info.Size() != s.size || int64(len(raw)) != min(s.size, xmltree.DefaultBytes+1) {
		return m, false, nil
	}
	m = message{name: name, in: gateway.Incoming{Raw: raw, Received: info.ModTime()}}
	if len(raw) > xmltree.DefaultBytes {
		m.in.Oversize = true
	}
	return m, true, nil
}

func (f *Folder) report(e Event) {
	if f.o.Report != nil {
		f.o.Report(e)
	}
}
