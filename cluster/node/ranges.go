package node

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"go.yaml.in/yaml/v3"
)

// unit says how a number of node.yaml is written.
type unit uint8

const (
	count    unit = iota // a whole number
	size                 // bytes
	duration             // nanoseconds, written as 50ms
)

// numberRange is what one number of node.yaml may be.
type numberRange struct {
	// key is the path of the number in node.yaml. [] stands for every element of a list.
	key    string
	unit   unit
	least  int64
	most   int64
	preset int64 // what an absent key means; 0: the key is required
}

const (
	mib = 1 << 20
	gib = 1 << 30
	tib = 1 << 40
)

// ranges lists every number of node.yaml. Validate, setDefaults and the table in docs/operations.md
// follow it: a number without a row fails a test.
var ranges = []numberRange{
	{"members[].id", count, 1, math.MaxInt64, 0},
	{"joined.self.id", count, 1, math.MaxInt64, 0},
	{"joined.nodes[].id", count, 1, math.MaxInt64, 0},
	{"raft.tick", duration, ms(1), ms(1000), ms(10)},
	{"raft.heartbeat", duration, ms(1), ms(10_000), ms(50)},
	{"raft.election", duration, ms(10), ms(60_000), ms(300)},
	{"raft.stall", duration, ms(50), ms(600_000), ms(2000)},
	{"storage.segment_bytes", size, mib, 4 * gib, 64 * mib},
	{"storage.retain_bytes", size, mib, 16 * tib, gib},
	{"storage.cache_bytes", size, mib, 64 * gib, 32 * mib},
	{"storage.ledger_cache_bytes", size, mib, 64 * gib, 64 * mib},
	{"storage.queue_bytes", size, 2 * mib, 16 * gib, 64 * mib},
	{"storage.min_free_bytes", size, mib, 1024 * tib, 256 * mib},
	{"storage.scrub_interval", duration, ms(1000), ms(30 * 24 * 3_600_000), ms(24 * 3_600_000)},
	{"storage.scrub_bytes", size, mib, tib, mib},
	{"storage.serve_bytes", size, mib, mib << 10, 32 * mib},
	{"storage.max_ledgers", count, 1, 100_000, 1000},
	{"clock.max_offset", duration, ms(100), ms(3_600_000), ms(10_000)},
	{"log_file_bytes", size, mib, tib, 64 * mib},
	{"log_files", count, 1, 1000, 4},
	{"seal.cadence", duration, ms(1), ms(3_600_000), ms(50)},
}

func ms(n int64) int64 { return n * int64(time.Millisecond) }

// write returns a number as node.yaml and docs/operations.md show it.
func (r numberRange) write(v int64) string {
	switch r.unit {
	case duration:
		text := time.Duration(v).String()
		for _, zero := range []string{"m0s", "h0m"} {
			if strings.HasSuffix(text, zero) {
				text = text[:len(text)-2]
			}
		}
		return text
	case size:
		for _, u := range []struct {
			bytes int64
			name  string
		}{{tib, "TiB"}, {gib, "GiB"}, {mib, "MiB"}} {
			if v >= u.bytes && v%u.bytes == 0 {
				return fmt.Sprintf("%d %s", v/u.bytes, u.name)
			}
		}
		return fmt.Sprintf("%d bytes", v)
	}
	return fmt.Sprint(v)
}

// check refuses a number outside its range, by key, value and range.
func (r numberRange) check(key string, v int64) error {
	if v < r.least || v > r.most {
		return errors.Newf("%s: %s is out of range: must be %s to %s", key, r.write(v), r.write(r.least), r.write(r.most))
	}
	return nil
}

// validateNumbers holds every number of the configuration to its range.
func (c *Config) validateNumbers() error {
	return c.eachNumber(func(r numberRange, key string, field reflect.Value) error {
		if key == "joined.self.id" && !c.joined() {
			return nil // a founder has no such row
		}
		if field.CanUint() {
			if field.Uint() > uint64(r.most) {
				return errors.Newf("%s: %d is out of range: must be %s to %s", key, field.Uint(), r.write(r.least), r.write(r.most))
			}
			return r.check(key, int64(field.Uint()))
		}
		return r.check(key, field.Int())
	})
}

// checkWritten checks whole numbers and sizes as a parsed node.yaml spells them. The YAML decoder
// alone would read 2.9 as 2, and 010 as 8.
func checkWritten(doc *yaml.Node) error {
	for _, r := range ranges {
		if r.unit == duration {
			continue
		}
		w := treeWalk{merged: map[treePlace]bool{}, visit: r.checkText}
		if err := w.walk(doc, "", strings.Split(r.key, ".")); err != nil {
			return err
		}
	}
	return nil
}

// checkText refuses a number that is not a decimal integer within its range.
func (r numberRange) checkText(key, text string) error {
	if !decimal.MatchString(strings.TrimPrefix(text, "-")) {
		return errors.Newf("%s: %q is not a decimal integer: write digits only, without a leading zero", key, text)
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return errors.Newf("%s: %s is out of range: must be %s to %s", key, text, r.write(r.least), r.write(r.most))
	}
	return r.check(key, v)
}

// treePlace is a node of a YAML tree, with how much of the path remains below it.
type treePlace struct {
	node *yaml.Node
	rest int
}

// treeWalk calls visit for the scalars of a YAML tree at a path. What the walk cannot follow, the
// decoder refuses.
type treeWalk struct {
	merged map[treePlace]bool // mappings that "<<" led to: an anchor may contain itself
	visit  func(key, text string) error
}

func (w *treeWalk) walk(n *yaml.Node, at string, path []string) error {
	switch {
	case n.Kind == yaml.AliasNode:
		return w.walk(n.Alias, at, path)
	case n.Kind == yaml.DocumentNode:
		return w.walk(n.Content[0], at, path)
	case n.Kind == yaml.ScalarNode && len(path) == 0:
		return w.visit(at, n.Value)
	case n.Kind != yaml.MappingNode || len(path) == 0:
		return nil
	}
	name, list := strings.CutSuffix(path[0], "[]")
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := unalias(n.Content[i]), unalias(n.Content[i+1])
		below := strings.TrimPrefix(at+"."+name, ".")
		var err error
		switch {
		case key.Value == "<<":
			err = w.merge(value, at, path)
		case key.Value == name && !list:
			err = w.walk(value, below, path[1:])
		case key.Value == name && value.Kind == yaml.SequenceNode:
			for k := 0; k < len(value.Content) && err == nil; k++ {
				err = w.walk(value.Content[k], fmt.Sprintf("%s[%d]", below, k), path[1:])
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// merge walks the value of "<<": a mapping, or a list of mappings.
func (w *treeWalk) merge(n *yaml.Node, at string, path []string) error {
	if place := (treePlace{n, len(path)}); !w.merged[place] {
		w.merged[place] = true
		if n.Kind != yaml.SequenceNode {
			return w.walk(n, at, path)
		}
		for _, e := range n.Content {
			if err := w.merge(unalias(e), at, path); err != nil {
				return err
			}
		}
	}
	return nil
}

func unalias(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// presetNumbers gives the numbers that are 0 their defaults.
func (c *Config) presetNumbers() {
	_ = c.eachNumber(func(r numberRange, _ string, field reflect.Value) error {
		if field.IsZero() && r.preset != 0 {
			field.SetInt(r.preset)
		}
		return nil
	})
}

// eachNumber calls f for every number of the configuration that has a range, with its key.
func (c *Config) eachNumber(f func(r numberRange, key string, field reflect.Value) error) error {
	for _, r := range ranges {
		err := walkKey(reflect.ValueOf(c).Elem(), "", strings.Split(r.key, "."), func(key string, field reflect.Value) error {
			return f(r, key, field)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// walkKey calls f for the fields below v that a path of yaml names leads to.
func walkKey(v reflect.Value, at string, path []string, f func(key string, field reflect.Value) error) error {
	if len(path) == 0 {
		return f(at, v)
	}
	name, list := strings.CutSuffix(path[0], "[]")
	for i := range v.NumField() {
		if yamlName(v.Type().Field(i)) != name {
			continue
		}
		key := strings.TrimPrefix(at+"."+name, ".")
		if !list {
			return walkKey(v.Field(i), key, path[1:], f)
		}
		for n := range v.Field(i).Len() {
			if err := walkKey(v.Field(i).Index(n), fmt.Sprintf("%s[%d]", key, n), path[1:], f); err != nil {
				return err
			}
		}
		return nil
	}
	panic("node: no key " + name + " in the configuration")
}

func yamlName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return name
}
