package zoo

import (
	"embed"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/sim"
)

//go:embed bugs/*.txt
var files embed.FS

// Bug is one deliberate bug of the product.
type Bug struct {
	// Name is the file's, without extension.
	Name string
	// Title says in a few words what is wrong, Story what comes of it.
	Title, Story string
	Edits        []Edit
	Detector     Detector
	// CaughtBy are the kinds of violations that count, for a simulation ("lost", or
	// "lost: watch" when the violation's text must have "watch"), or texts of which
	// one must be in the output of a failing test. At least one.
	CaughtBy []string
	// Seeds and Time bound the search: how many seeds, and how long they take.
	Seeds int
	Time  time.Duration
	// First is the seed that found it last time, 0 when none is known.
	First uint64
}

// Detector is what must find a bug: a simulation or a test.
type Detector struct {
	Sim *sim.Options
	// Package and Test name a Go test: an import path relative to the module, and
	// a regular expression for -run.
	Package, Test string
}

// String is the detector as the file has it.
func (d Detector) String() string {
	if d.Sim == nil {
		return "test " + d.Package + " " + d.Test
	}
	o := *d.Sim
	o.Seed = 0
	return strings.TrimSpace("sim " + strings.TrimPrefix(o.String(), "--seed 0"))
}

// Edit replaces lines of a file.
type Edit struct {
	File     string // relative to the module, with slashes
	Old, New string // whole lines
}

var load = sync.OnceValues(func() ([]*Bug, error) {
	names, err := fs.Glob(files, "bugs/*.txt")
	if err != nil {
		return nil, errors.Wrap(err, "list bugs")
	}
	var bugs []*Bug
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, errors.Wrap(err, "read bug")
		}
		b, err := parse(strings.TrimSuffix(path.Base(name), ".txt"), string(text))
		if err != nil {
			return nil, errors.Wrapf(err, "parse %s", name)
		}
		bugs = append(bugs, b)
	}
	return bugs, nil
})

// Bugs returns all bugs, by name. They are part of the program, so an error is a
// mistake in one of their files.
func Bugs() ([]*Bug, error) {
	bugs, err := load()
	return slices.Clone(bugs), err
}

// Find returns the bug of a name. An error says that there is none.
func Find(name string) (*Bug, error) {
	bugs, err := Bugs()
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(bugs, func(b *Bug) bool { return b.Name == name }); i >= 0 {
		return bugs[i], nil
	}
	return nil, errors.Newf("there is no bug %q; those in jepsen/zoo/bugs can be planted", name)
}

// parse reads the format that the package documentation describes.
func parse(name, text string) (*Bug, error) {
	b := &Bug{Name: name}
	head, rest, _ := strings.Cut(text, "\n\n")
	for line := range strings.Lines(head) {
		key, value, ok := strings.Cut(line, ": ")
		if !ok {
			return nil, errors.Newf("no \"key: value\": %q", line)
		}
		if err := b.set(key, strings.TrimSpace(value)); err != nil {
			return nil, errors.Wrapf(err, "parse %s", key)
		}
	}
	story, patch, _ := strings.Cut(rest, "\n@@ ")
	b.Story = strings.Join(strings.Fields(story), " ")
	for i, part := range strings.Split("\n"+patch, "\n@@ ") {
		edit, err := parseEdit(strings.TrimPrefix(part, "\n"))
		if err != nil {
			return nil, errors.Wrapf(err, "parse replacement %d", i+1)
		}
		b.Edits = append(b.Edits, edit)
	}
	switch {
	case b.Title == "" || b.Story == "":
		return nil, errors.New("title or story is missing")
	case b.Detector == Detector{}:
		return nil, errors.New("detector is missing")
	case len(b.CaughtBy) == 0:
		return nil, errors.New("\"caught by\" is missing")
	case b.Time <= 0 || b.Detector.Sim != nil && b.Seeds <= 0:
		return nil, errors.New("budget is missing")
	}
	return b, nil
}

func (b *Bug) set(key, value string) (err error) {
	switch key {
	case "title":
		b.Title = value
	case "detector":
		b.Detector, err = parseDetector(value)
	case "caught by":
		b.CaughtBy = strings.Split(value, ", ")
	case "budget":
		seeds, limit, two := strings.Cut(value, " seeds, ")
		if !two {
			limit = value
		} else if b.Seeds, err = strconv.Atoi(seeds); err != nil {
			return err
		}
		b.Time, err = time.ParseDuration(limit)
	case "first":
		b.First, err = strconv.ParseUint(value, 10, 64)
	default:
		return errors.New("nothing has this name")
	}
	return err
}

func parseDetector(s string) (Detector, error) {
	kind, rest, _ := strings.Cut(s, " ")
	switch kind {
	case "sim":
		o, err := sim.ParseOptions(rest)
		return Detector{Sim: &o}, err
	case "test":
		pkg, test, ok := strings.Cut(rest, " ")
		if ok && strings.HasPrefix(pkg, "./") {
			return Detector{Package: pkg, Test: test}, nil
		}
	}
	return Detector{}, errors.Newf("%q is neither \"sim OPTIONS\" nor \"test ./PACKAGE TEST\"", s)
}

func parseEdit(s string) (Edit, error) {
	file, body, _ := strings.Cut(s, "\n")
	e := Edit{File: strings.TrimSpace(file)}
	if e.File == "" || path.IsAbs(e.File) || path.Clean(e.File) != e.File || strings.HasPrefix(e.File, "..") {
		return e, errors.Newf("%q is no file of the module", e.File)
	}
	for line := range strings.Lines(strings.TrimRight(body, "\n") + "\n") {
		switch line[0] {
		case '-':
			e.Old += line[1:]
		case '+':
			e.New += line[1:]
		case ' ':
			e.Old, e.New = e.Old+line[1:], e.New+line[1:]
		case '\n':
			e.Old, e.New = e.Old+line, e.New+line
		default:
			return e, errors.Newf("line begins with none of \" -+\": %q", line)
		}
	}
	if strings.TrimSpace(e.Old) == "" || e.Old == e.New {
		return e, errors.New("nothing is replaced")
	}
	return e, nil
}
