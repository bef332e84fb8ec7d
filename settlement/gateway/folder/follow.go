package folder

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement/gateway"
)

// An instruction of sese.023 may settle long after its message was answered. What is still to be told
// about it stands in a note, a file of its own.
//
//	in/open/KEY    the note of an instruction that may still change
//	in/closed/KEY  the note of one about which everything was told, without its message
//
// KEY is a hash of the instruction's id. Invariants:
//
//   - Every instruction whose message is in done has a note, in open or in closed: the note is durable
//     before the message moves, and the one in closed is durable before the one in open goes. After a
//     crash both may be there: then the end is told and closed again. The one in closed is removed after
//     Options.Keep.
//   - A note names the last entry that was told. What it names is durable in out. So after a crash
//     notices are at most written again, with the same bytes under the same names: a notice of an entry
//     depends on the message and the ledger alone, and its name on the note and the entry. What an
//     instruction waits for is told as it is, under a name with the state: after a crash another state
//     may be told under the same number.
//   - The same message again, under whatever name of a file, finds the note and makes no other one.
//     After Options.Keep it is told about anew.
type note struct {
	// Name is what the notices are called after: the name that the message has in done.
	Name        string `json:"name"`
	Instruction string `json:"instruction"`
	// How far it has been told, as in gateway.Followed.
	Last    uint64 `json:"last"`
	Settled string `json:"settled,omitempty"`
	State   string `json:"state,omitempty"`
	States  int    `json:"states,omitempty"`

	key string
	raw []byte // the message
}

const (
	openFolder   = "open"
	closedFolder = "closed"
	noteAside    = ".cairn-note.tmp"
	// sweep is how many notes one pass looks at.
	sweep = 64
)

func noteKey(instruction string) string {
	sum := sha256.Sum256([]byte(instruction))
	return fmt.Sprintf("%x", sum[:16])
}

// encode writes a note: a line of JSON, and the message behind it.
func (n *note) encode() ([]byte, error) {
	head, err := json.Marshal(n)
	return append(append(head, '\n'), n.raw...), err
}

func (f *Folder) readNote(key string) (*note, error) {
	b, _, err := f.fs.read(filepath.Join(f.in, openFolder, key), 1<<30)
	if err != nil {
		return nil, errors.Wrap(err, "read a note")
	}
	head, raw, _ := bytes.Cut(b, []byte("\n"))
	n := &note{key: key, raw: raw}
	if err := json.Unmarshal(head, n); err != nil || n.Name == "" || noteKey(n.Instruction) != key {
		return nil, errors.Newf("%s is no note of a gateway: take it away, and say how it came there", filepath.Join(f.in, openFolder, key))
	}
	return n, nil
}

// writeNote makes or replaces a note in open or in closed; it is durable after a sync of the folder.
func (f *Folder) writeNote(folder string, n *note) error {
	raw, err := n.encode()
	if err != nil {
		return err
	}
	aside := filepath.Join(f.in, folder, noteAside)
	if err := f.fs.write(written{aside, raw}); err != nil {
		return errors.Wrap(err, "write a note")
	}
	return errors.Wrap(f.fs.rename(aside, filepath.Join(f.in, folder, n.key)), "write a note")
}

// closeNote moves a note to closed, without its message; the removal of the one in open is durable
// after a sync of the folder.
func (f *Folder) closeNote(n *note) error {
	told := *n
	told.raw = nil
	if err := f.writeNote(closedFolder, &told); err != nil {
		return err
	}
	if err := f.fs.sync(filepath.Join(f.in, closedFolder)); err != nil {
		return errors.Wrap(err, "sync the notes")
	}
	return errors.Wrap(f.fs.remove(filepath.Join(f.in, openFolder, n.key)), "close a note")
}

// forgetEvery is how often a running gateway looks for closed notes that are old.
const forgetEvery = time.Hour

// forget removes the closed notes that are older than Options.Keep.
func (f *Folder) forget() error {
	f.forgot = f.now()
	infos, err := f.fs.list(filepath.Join(f.in, closedFolder))
	if err != nil {
		return errors.Wrap(err, "read the closed notes")
	}
	for _, info := range infos {
		if !info.Mode().IsRegular() || strings.HasPrefix(info.Name(), ".") {
			continue
		}
		if f.forgot.Sub(info.ModTime()) > f.o.Keep {
			if err := f.fs.remove(filepath.Join(f.in, closedFolder, info.Name())); err != nil {
				return errors.Wrap(err, "remove an old note")
			}
		}
	}
	return nil
}

// keepNotes makes the notes of messages that gave instructions, and makes them durable.
func (f *Folder) keepNotes(all []message, places []string) error {
	made := make(map[string]bool)
	for i := range all {
		id := all[i].answer.Follow
		key := noteKey(id)
		if id == "" || made[key] {
			continue
		}
		known := false
		for _, dir := range []string{openFolder, closedFolder} {
			there, err := f.fs.exists(filepath.Join(f.in, dir, key))
			if err != nil {
				return err
			}
			known = known || there
		}
		made[key] = true
		if known {
			continue
		}
		if err := f.writeNote(openFolder, &note{Name: places[i], Instruction: id, State: all[i].answer.State, key: key, raw: all[i].in.Raw}); err != nil {
			return err
		}
	}
	if len(made) == 0 {
		return nil
	}
	return errors.Wrap(f.fs.sync(filepath.Join(f.in, openFolder)), "sync the notes")
}

// follow looks at the next notes in turn, at most so many, and writes what is to be told. It stops at
// a note that cannot be followed; the next call goes on behind it. It returns how many notes it has
// looked at, and how many there are.
func (f *Folder) follow(ctx context.Context, a Answerer, most int) (looked, open int, err error) {
	infos, err := f.fs.list(filepath.Join(f.in, openFolder))
	if err != nil {
		return 0, 0, errors.Wrap(err, "read the notes")
	}
	var keys []string
	for _, info := range infos {
		if info.Mode().IsRegular() && !strings.HasPrefix(info.Name(), ".") {
			keys = append(keys, info.Name())
		}
	}
	slices.Sort(keys)
	start, found := slices.BinarySearch(keys, f.followed)
	if found {
		start++
	}
	for looked < min(len(keys), most) && ctx.Err() == nil {
		key := keys[(start+looked)%len(keys)]
		looked++
		f.followed = key
		if err := f.followOne(ctx, a, key); err != nil {
			if !f.failing[key] && ctx.Err() == nil {
				f.failing[key] = true
				f.report(Event{Err: err})
			}
			return looked, len(keys), err
		}
		delete(f.failing, key)
	}
	return looked, len(keys), nil
}

// followAll looks at every note once. The error is the first one.
func (f *Folder) followAll(ctx context.Context, a Answerer) error {
	f.followed = ""
	var failed error
	// Notes are looked at in turn, and only leave: so many looks as there were notes at the beginning
	// reach each.
	for done, notes := 0, 1; done < notes && ctx.Err() == nil; {
		looked, open, err := f.follow(ctx, a, sweep)
		if err != nil && failed == nil {
			failed = err
		}
		if done == 0 {
			notes = open
		}
		if done += looked; looked == 0 {
			break
		}
	}
	return errors.CombineErrors(failed, ctx.Err())
}

func (f *Folder) followOne(ctx context.Context, a Answerer, key string) error {
	n, err := f.readNote(key)
	if err != nil {
		return err
	}
	notices, to, final, err := a.Follow(ctx, n.raw, gateway.Followed{Last: n.Last, Settled: n.Settled, State: n.State, States: n.States}, f.now())
	if err != nil {
		return errors.Wrapf(err, "follow the instruction of %s", n.Name)
	}
	var names []string
	var all []published
	for i := range notices {
		part := cmp.Or(notices[i].State, strconv.FormatUint(notices[i].Index, 10))
		name := fmt.Sprintf("%s.%s-%s-%s.xml", n.Name, notices[i].Definition[:len("sese.025")], part, key[:8])
		names, all = append(names, name), append(all, published{name, notices[i].Reply})
	}
	if len(all) > 0 {
		if err := f.publish(all); err != nil {
			return errors.Wrapf(err, "tell about the instruction of %s", n.Name)
		}
	}
	// What the note will name is durable.
	n.Last, n.Settled, n.State, n.States = to.Last, to.Settled, to.State, to.States
	switch {
	case final:
		if err := f.closeNote(n); err != nil {
			return err
		}
	case len(notices) > 0:
		if err := f.writeNote(openFolder, n); err != nil {
			return err
		}
	default:
		return nil
	}
	if err := f.fs.sync(filepath.Join(f.in, openFolder)); err != nil {
		return errors.Wrap(err, "sync the notes")
	}
	for i := range names {
		f.report(Event{File: n.Name, Notice: names[i], Index: notices[i].Index})
	}
	return nil
}
