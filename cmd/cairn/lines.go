package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/ledger"
)

const (
	// One request of --lines: far below the limits of a batch, large enough
	// that the round trip does not count.
	linesPerRequest = 2000
	bytesPerRequest = 512 << 10
)

// line is one line of the input, without its newline.
type line struct {
	number uint64 // from 1
	text   []byte
	err    error // instead of a line: the input ended with an error
}

// readLines sends every line of r, and closes the channel at its end. A line
// that cannot be an entry ends the input with an error that names it.
func readLines(ctx context.Context, r io.Reader, name string) <-chan line {
	lines := make(chan line, linesPerRequest)
	go func() {
		defer close(lines)
		send := func(l line) bool {
			select {
			case lines <- l:
				return true
			case <-ctx.Done():
				return false
			}
		}
		br := bufio.NewReaderSize(r, ledger.MaxLeafSize+1)
		for n := uint64(1); ; n++ {
			raw, err := br.ReadSlice('\n')
			switch {
			case errors.Is(err, bufio.ErrBufferFull):
				send(line{number: n, err: failf(exitInvalid, "shorten or split the line; the lines before it are appended",
					"line %d of %s is longer than an entry can be (%d bytes)", n, name, ledger.MaxLeafSize)})
				return
			case err != nil && !errors.Is(err, io.EOF):
				send(line{number: n, err: errors.Wrapf(err, "read line %d of %s", n, name)})
				return
			case err != nil && len(raw) == 0:
				return
			}
			text := make([]byte, len(raw))
			copy(text, raw)
			if err == nil {
				text = text[:len(text)-1]
			}
			if !send(line{number: n, text: text}) || err != nil {
				return
			}
		}
	}()
	return lines
}

// linesOptions says how lines are appended.
type linesOptions struct {
	key    string // prefix of the keys; "" means none
	sealed bool
	// timeout bounds one request with all its retries.
	timeout time.Duration
	// acked is called for each request, in order, with its lines and results.
	acked func(lines []line, entries []client.Entry, results []client.Appended) error
}

// appendAll appends lines in order, each once. One request is in flight at a
// time, so that the order in the ledger is the order of the lines even when a
// request has to be repeated; whatever arrives meanwhile makes the next one.
func appendAll(ctx context.Context, c *client.Client, lines <-chan line, o linesOptions) error {
	var batch []line
	var entries []client.Entry
	var carried *line
	for {
		batch, entries = batch[:0], entries[:0]
		size := 0
		for len(batch) < linesPerRequest && size < bytesPerRequest {
			l, ok := nextLine(ctx, lines, carried, len(batch) == 0)
			carried = nil
			if !ok {
				break
			}
			if l.err != nil {
				if len(batch) == 0 {
					return l.err
				}
				carried = &l
				break
			}
			e := client.Entry{Payload: l.text}
			if o.key != "" {
				e.Key = fmt.Appendf(nil, "%s-%d", o.key, l.number)
			}
			if limit := ledger.MaxBody(c.Principal(), len(e.Key)); len(l.text) > limit {
				l.err = failf(exitInvalid, "shorten or split the line; the lines before it are appended",
					"line %d has %d bytes, at most %d fit into an entry of this writer", l.number, len(l.text), limit)
				if len(batch) == 0 {
					return l.err
				}
				carried = &l
				break
			}
			batch, entries = append(batch, l), append(entries, e)
			size += len(l.text)
		}
		if len(batch) == 0 {
			return ctx.Err()
		}
		results, err := appendRequest(ctx, c, entries, o)
		late := notSealed(err, results...)
		if err != nil && late == nil {
			return changeError(errors.Wrapf(err, "append lines %d to %d", batch[0].number, batch[len(batch)-1].number), o.retryHint())
		}
		if err := o.acked(batch, entries, results); err != nil {
			return err
		}
		if late != nil {
			return errors.Wrapf(late, "append lines %d to %d", batch[0].number, batch[len(batch)-1].number)
		}
	}
}

// nextLine returns the carried line or the next one; it waits only if the
// request is still empty.
func nextLine(ctx context.Context, lines <-chan line, carried *line, wait bool) (line, bool) {
	if carried != nil {
		return *carried, true
	}
	if wait {
		select {
		case l, ok := <-lines:
			return l, ok
		case <-ctx.Done():
			return line{}, false
		}
	}
	select {
	case l, ok := <-lines:
		return l, ok
	default:
		return line{}, false
	}
}

func appendRequest(ctx context.Context, c *client.Client, entries []client.Entry, o linesOptions) ([]client.Appended, error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if o.sealed {
		return c.AppendBatch(ctx, entries, client.Sealed())
	}
	return c.AppendBatch(ctx, entries)
}

func (o linesOptions) retryHint() string {
	if o.key == "" {
		return "look at `cairn log` for what is there: these lines had no keys"
	}
	return "repeat the command with --key " + shellWord(o.key) + ": lines that are in the ledger are not appended again"
}

// afterLines adds to an error how to go on when n lines are in the ledger by now,
// whatever became of the others.
func (o linesOptions) afterLines(err error, n uint64) error {
	f := classify(err)
	if n == 0 || f.code == exitUnknown { // which says so already
		return f
	}
	hint := fmt.Sprintf("%s in the ledger: %s", plural(n, "line is", "lines are"), o.retryHint())
	if f.next != "" {
		hint = f.next + "; " + hint
	}
	f.next = hint
	return f
}

// effect is what n appended lines have done; last and key are those of the last of them.
func (o linesOptions) effect(n, last uint64, key []byte) effect {
	e := effect{index: &last, keyJSON: newKeyJSON(key), next: o.retryHint()}
	e.text = fmt.Sprintf("%s in the ledger, the last one at index %d", plural(n, "line is", "lines are"), last)
	if k := e.keyText(); k != "" {
		e.text += " under the key " + k
	}
	return e
}

func (a *app) appendLines(ctx context.Context, f appendFlags) error {
	in, name := a.in, "standard input"
	if f.lines != "-" {
		file, err := openNamed(f.lines)
		if err != nil {
			return errors.Wrap(err, "open lines")
		}
		defer file.Close()
		in, name = file, f.lines
	}
	key := f.key
	if key == "" && !f.noKey {
		key = randomKey()
	}
	if len(key) > ledger.MaxKeySize-20 {
		return usagef("--key: at most %d bytes with --lines, which adds the line's number", ledger.MaxKeySize-20)
	}
	// Results of one request are written at once, each on its line.
	out := bufio.NewWriterSize(a.out, 64<<10)
	buffered := *a
	buffered.out = out
	var n, duplicates uint64
	start := time.Now()
	return a.withClientContext(ctx, func(ctx context.Context, c *client.Client) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		m := &meter{bar: &progress{}, begin: start}
		if !isTerminal(a.out) { // results on the terminal are progress enough
			m.bar = a.progress(inputSize(in), "append", "")
		}
		o := linesOptions{key: key, sealed: f.sealed, timeout: a.timeout}
		o.acked = func(lines []line, entries []client.Entry, results []client.Appended) error {
			n += uint64(len(results))
			a.did(o.effect(n, results[len(results)-1].Index, entries[len(entries)-1].Key))
			for i, x := range results {
				r := newAppendedResult(x, entries[i].Key)
				r.Line = lines[i].number
				if x.Duplicate {
					duplicates++
				}
				if err := buffered.emit(r, func(w *page) { fmt.Fprintln(w, r.Index) }); err != nil {
					return err
				}
			}
			m.add(lines, time.Now())
			return out.Flush()
		}
		err := appendAll(ctx, c, readLines(ctx, in, name), o)
		m.bar.done()
		if err != nil {
			return o.afterLines(err, n)
		}
		if n == 0 && !f.empty {
			return emptyInput(name)
		}
		took := time.Since(start)
		a.note("appended %s in %s (%s)%s", plural(n, "entry", "entries"), latencyString(took), rate(float64(n), took), duplicatesText(duplicates))
		return nil
	})
}

func duplicatesText(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", of which %s had been there before", count(n))
}
