package schema

import (
	"embed"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

//go:embed types/*.txt
var files embed.FS

// kind says how a type is built.
type kind int

const (
	sequence kind = iota // elements in an order
	choice               // one of several elements
	anything             // one element, whatever it is
	amount               // a decimal with the attribute Ccy
	simple               // text
)

// typ is a type of the tables.
type typ struct {
	name   string
	kind   kind
	fields []field        // of a sequence or choice
	index  map[string]int // of fields by name
	value  *value         // of an amount or simple type
}

// field is an element of a complex type.
type field struct {
	name string
	min  int
	max  int // -1 for any number
	typ  *typ
}

// value is what the text of a simple type looks like.
type value struct {
	base     string // text, string, like, code, decimal, boolean, date, datetime, time, base64
	min, max int    // length of text in characters, of base64 in bytes
	like     *regexp.Regexp
	codes    []string
	digits   int // of a decimal
	fraction int
	unsigned bool
}

// repetition finds {3,3} in a pattern.
var repetition = regexp.MustCompile(`\{[0-9]+,[0-9]+\}`)

// tables reads the files once. They are part of the program: what does not parse is a bug in it,
// and a panic.
var tables = sync.OnceValue(func() map[string]*typ {
	all := map[string]*typ{}
	var pending []func()
	entries, err := files.ReadDir("types")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		raw, err := files.ReadFile("types/" + e.Name())
		if err != nil {
			panic(err)
		}
		pending = append(pending, readTable(all, e.Name(), string(raw))...)
	}
	// The types of fields may be in a later file.
	for _, resolve := range pending {
		resolve()
	}
	return all
})

// readTable adds the types of a file. What it returns has to be called when all files are read.
func readTable(all map[string]*typ, file, text string) (pending []func()) {
	var t *typ
	for n, line := range strings.Split(text, "\n") {
		at := fmt.Sprintf("types/%s:%d", file, n+1)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == ' ':
			pending = append(pending, addFields(all, t, at, line))
		default:
			name, rest, _ := strings.Cut(line, " ")
			if all[name] != nil {
				panic(at + ": " + name + " stands twice")
			}
			t = &typ{name: name, index: map[string]int{}}
			all[name] = t
			pending = append(pending, setKind(all, t, at, rest))
		}
	}
	return pending
}

func setKind(all map[string]*typ, t *typ, at, rest string) func() {
	word, argument, _ := strings.Cut(rest, " ")
	switch word {
	case "sequence":
		t.kind = sequence
	case "choice":
		t.kind = choice
	case "any":
		t.kind = anything
	case "amount":
		t.kind = amount
		return func() {
			if all[argument] == nil {
				panic(at + ": no type " + argument)
			}
			t.value = all[argument].value
		}
	default:
		t.kind, t.value = simple, parseValue(at, rest)
	}
	return func() {}
}

func addFields(all map[string]*typ, t *typ, at, line string) func() {
	var names []string
	for part := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSpace(line), ","), ", ") {
		name, typeName, ok := strings.Cut(part, " ")
		if !ok {
			panic(at + ": a field has a name and a type: " + part)
		}
		f := field{name: name, min: 1, max: 1}
		if i := strings.IndexAny(name, "?*+{"); i >= 0 {
			f.name = name[:i]
			switch name[i] {
			case '?':
				f.min = 0
			case '*':
				f.min, f.max = 0, -1
			case '+':
				f.max = -1
			default:
				if _, err := fmt.Sscanf(name[i:], "{%d;%d}", &f.min, &f.max); err != nil {
					panic(at + ": " + err.Error())
				}
			}
		}
		t.index[f.name] = len(t.fields)
		t.fields = append(t.fields, f)
		names = append(names, typeName)
	}
	first := len(t.fields) - len(names)
	return func() {
		for i, name := range names {
			if all[name] == nil {
				panic(at + ": no type " + name)
			}
			t.fields[first+i].typ = all[name]
		}
	}
}

func parseValue(at, rest string) *value {
	words := strings.Fields(rest)
	number := func(i int) int {
		n, err := strconv.Atoi(words[i])
		if err != nil {
			panic(at + ": " + err.Error())
		}
		return n
	}
	v := &value{base: words[0]}
	switch v.base {
	case "text", "base64":
		v.min, v.max = number(1), number(2)
	case "like":
		v.like = regexp.MustCompile("^(?:" + words[1] + ")$")
	case "code":
		v.codes = words[1:]
	case "decimal":
		v.digits, v.fraction = number(1), number(2)
		v.unsigned = len(words) > 3
	case "string", "boolean", "date", "datetime", "time":
	default:
		panic(at + ": no kind of type " + v.base)
	}
	return v
}
