package folder

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"unicode/utf8"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement/gateway"
)

const (
	replyXML  = ".reply.xml"
	replyText = ".reply.txt"
)

// finish writes the replies of messages and moves their files. After a crash anywhere in it the next
// run answers those messages again whose files were not moved, and finish writes the same replies
// under the same names.
func (f *Folder) finish(all []message) error {
	if len(all) == 0 {
		return nil
	}
	places := make([]string, len(all))
	replies := make([]published, len(all))
	taken := make(map[string]bool)
	for i := range all {
		var err error
		if places[i], err = f.place(&all[i], taken); err != nil {
			return err
		}
		taken[places[i]] = true
		replies[i] = published{places[i] + extension(all[i].answer), all[i].answer.Reply}
	}
	if err := f.publish(replies); err != nil {
		return errors.Wrap(err, "write replies")
	}
	if err := f.keepNotes(all, places); err != nil {
		return err
	}
	// Every reply and every note is durable: the files may go.
	for i := range all {
		if err := f.fs.rename(filepath.Join(f.in, all[i].name), filepath.Join(f.in, folderOf(all[i].answer), places[i])); err != nil {
			return errors.Wrapf(err, "move %s", all[i].name)
		}
		delete(f.seen, all[i].name)
	}
	for _, dir := range []string{filepath.Join(f.in, doneFolder), filepath.Join(f.in, rejectedFolder), f.in} {
		if err := f.fs.sync(dir); err != nil {
			return errors.Wrap(err, "sync the folder of messages")
		}
	}
	for i := range all {
		a := all[i].answer
		f.report(Event{File: all[i].name, Moved: filepath.Join(folderOf(a), places[i]), Reply: places[i] + extension(a), Answer: a})
	}
	return nil
}

func folderOf(a *gateway.Answer) string {
	if a.Rejected {
		return rejectedFolder
	}
	return doneFolder
}

func extension(a *gateway.Answer) string {
	if a.Definition == "" {
		return replyText
	}
	return replyXML
}

// published is a message that goes into the folder out.
type published struct {
	name string
	raw  []byte
}

// publish writes messages aside, syncs them, gives them their names, and syncs the folder out: then all
// are durable, and none was ever seen in part.
func (f *Folder) publish(all []published) error {
	asides := make([]written, len(all))
	for i, p := range all {
		asides[i] = written{filepath.Join(f.out, fmt.Sprintf("%s%x%s", asidePrefix, sha256.Sum256([]byte(p.name)), asideSuffix)), p.raw}
	}
	if err := f.fs.write(asides...); err != nil {
		return err
	}
	for i, p := range all {
		if err := f.fs.rename(asides[i].path, filepath.Join(f.out, p.name)); err != nil {
			return err
		}
	}
	return errors.Wrap(f.fs.sync(f.out), "sync the folder of replies")
}

// place returns the name that a file gets in done or rejected, which its reply has, too: its own, or
// one that is free. A name is free when no file of this name is done, rejected or waiting, and when
// there is no reply to another message under it. A reply to the same message is what a run has left
// that ended before it moved the file.
func (f *Folder) place(m *message, taken map[string]bool) (string, error) {
	base := short(m.name)
	for n := 1; ; n++ {
		name := base
		if n > 1 {
			name = fmt.Sprintf("%s~%d", base, n)
		}
		if taken[name] {
			continue
		}
		free, err := f.free(name, m)
		if err != nil {
			return "", errors.Wrapf(err, "find a name for %s", m.name)
		}
		if free {
			return name, nil
		}
	}
}

func (f *Folder) free(name string, m *message) (bool, error) {
	paths := []string{filepath.Join(f.in, doneFolder, name), filepath.Join(f.in, rejectedFolder, name)}
	if name != m.name {
		paths = append(paths, filepath.Join(f.in, name))
	}
	for _, path := range paths {
		if there, err := f.fs.exists(path); there || err != nil {
			return false, err
		}
	}
	for _, ext := range []string{replyXML, replyText} {
		path := filepath.Join(f.out, name+ext)
		there, err := f.fs.exists(path)
		if err != nil {
			return false, err
		}
		if !there {
			continue
		}
		head, _, err := f.fs.read(path, replyHead)
		if err != nil {
			return false, err
		}
		if !bytes.Contains(head, []byte(m.answer.ReplyID)) {
			return false, nil
		}
		if ext != extension(m.answer) {
			// The same message had a reply of another kind: there is one reply.
			if err := f.fs.remove(path); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// replyHead is how far into a reply its identification stands.
const replyHead = 4096

const (
	// maxName is the longest name of a file that is kept: what is put behind it fits into 255 bytes.
	maxName  = 200
	keptName = 150
)

// short returns a name to which something can be appended. A long one is cut, and a hash of the whole
// keeps it apart from others.
func short(name string) string {
	if len(name) <= maxName {
		return name
	}
	n := keptName
	for n > 0 && !utf8.RuneStart(name[n]) {
		n--
	}
	return fmt.Sprintf("%s-%x", name[:n], sha256.Sum256([]byte(name)))[:n+1+16] + filepath.Ext(name[max(0, len(name)-8):])
}
