package history_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/merkle"
)

func entry(n byte, index uint64) history.Entry {
	return history.Entry{Key: history.DigestOf([]byte{n}), Body: history.DigestOf([]byte{n, n}), Index: index}
}

// sample has an operation of every shape, one of them never completed.
func sample() []history.Op {
	root := merkle.LeafHash([]byte("x"))
	a := history.Op{Process: 1, Kind: history.Append, Outcome: history.OK, Call: 10, Return: 30, Entries: []history.Entry{entry(1, 0), entry(2, 1)}}
	dup := entry(1, 0)
	dup.Duplicate = true
	return []history.Op{
		a,
		{Process: 2, Kind: history.Append, Outcome: history.Info, Call: 12, Return: history.Never, Entries: []history.Entry{entry(3, 0)}},
		{Process: 3, Kind: history.Append, Outcome: history.OK, Retried: true, Call: 31, Return: 40, Entries: []history.Entry{dup}},
		{Process: 3, Kind: history.Append, Outcome: history.Fail, Reason: history.SizeMismatch, Conditional: true, Size: 9, Seen: 2, Call: 41, Return: 44, Entries: []history.Entry{entry(4, 0)}},
		{Process: 1, Kind: history.Head, Outcome: history.OK, Size: 2, Root: &root, Call: 35, Return: 36},
		{Process: 1, Kind: history.Range, Outcome: history.OK, Seen: 2, Call: 50, Return: 55, Entries: []history.Entry{entry(1, 0), entry(2, 1)}},
		{Process: 4, Kind: history.Get, Outcome: history.OK, Reason: history.NotFound, First: 77, Call: 50, Return: 51},
	}
}

func record(t *testing.T, path string, ops []history.Op) {
	t.Helper()
	r, err := history.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]int64, len(ops))
	for i := range ops {
		if ids[i], err = r.Invoke(&ops[i]); err != nil {
			t.Fatal(err)
		}
	}
	for i := range ops {
		if ops[i].Outcome != history.Info {
			if err := r.Complete(ids[i], &ops[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRecordAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	record(t, path, sample())
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := history.Load(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if want := sample(); !reflect.DeepEqual(got, want) {
		t.Errorf("loaded\n%+v\nwant\n%+v", got, want)
	}
	// A harness that dies in the middle of a line loses that line only, and what
	// it did not complete is unknown.
	lines := bytes.SplitAfter(raw, []byte("\n"))
	cut := bytes.Join(lines[:len(sample())+1], nil)
	got, err = history.Load(bytes.NewReader(append(cut, lines[len(sample())+1][:20]...)))
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Outcome != history.OK || got[2].Outcome != history.Info || got[2].Return != history.Never {
		t.Errorf("after a cut: first %v, third %v until %d; want ok, info, never", got[0].Outcome, got[2].Outcome, got[2].Return)
	}
}

func TestLoadRefusesDamage(t *testing.T) {
	for name, text := range map[string]string{
		"no json":           "hello\n",
		"orphan completion": `{"id":1,"type":"ok","t":1,"p":1}` + "\n",
		"unknown type":      `{"id":1,"type":"invoke","t":1,"p":1}` + "\n" + `{"id":1,"type":"maybe","t":1,"p":1}` + "\n",
		"short digest":      `{"id":1,"type":"invoke","t":1,"p":1,"e":[{"k":"00","b":"00"}]}` + "\n",
	} {
		if _, err := history.Load(strings.NewReader(text)); err == nil {
			t.Errorf("%s: loaded without an error", name)
		}
	}
}

func TestEDN(t *testing.T) {
	var list, set bytes.Buffer
	if err := history.WriteListAppend(&list, sample()); err != nil {
		t.Fatal(err)
	}
	if err := history.WriteSetFull(&set, sample()); err != nil {
		t.Fatal(err)
	}
	wantList := `{:index 0 :time 10 :type :invoke :process 1 :f :txn :value [[:append 0 1] [:append 0 2]]}
{:index 1 :time 12 :type :invoke :process 2 :f :txn :value [[:append 0 3]]}
{:index 2 :time 30 :type :ok :process 1 :f :txn :value [[:append 0 1] [:append 0 2]]}
{:index 3 :time 41 :type :invoke :process 3 :f :txn :value [[:append 0 4]]}
{:index 4 :time 44 :type :fail :process 3 :f :txn :value [[:append 0 4]]}
{:index 5 :time 50 :type :invoke :process 1 :f :txn :value [[:r 0 nil]]}
{:index 6 :time 55 :type :ok :process 1 :f :txn :value [[:r 0 [1 2]]]}
{:index 7 :time 56 :type :info :process 2 :f :txn :value [[:append 0 3]]}
`
	if list.String() != wantList {
		t.Errorf("list-append:\n%s\nwant\n%s", list.String(), wantList)
	}
	if want := "{:index 5 :time 56 :type :info :process 2 :f :add :value 1}\n"; !strings.HasSuffix(set.String(), want) {
		t.Errorf("set-full ends\n%s\nwant\n%s", set.String(), want)
	}
}
