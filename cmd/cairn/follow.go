package main

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
)

// logRange is what cairn log prints.
type logRange struct {
	first, limit  uint64 // limit 0 is none
	follow, local bool
}

// errLimit ends a log that printed as much as it was asked to.
var errLimit = errors.New("limit reached")

// printLog prints entries. A log that does not follow gives up when no entry has come for
// --timeout; one that follows says whom it waits for, at the start and once in every silence of
// that length.
func (a *app) printLog(ctx context.Context, c *client.Client, l logRange) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	nodes := strings.Join(c.Nodes(), ", ")
	next := l.first
	var silence *time.Timer
	var gaveUp atomic.Bool
	if l.follow {
		a.note("waiting for entry %d and later ones from %s, until interrupted", next, nodes)
		silent := make(chan struct{}, 1)
		silence = time.AfterFunc(a.timeout, func() {
			select {
			case silent <- struct{}{}:
			default: // being said
			}
		})
		ended := make(chan struct{})
		defer func() { cancel(); <-ended }()
		go func() {
			defer close(ended)
			for {
				select {
				case <-silent:
					a.note("still waiting: nothing has come from %s for %v", nodes, a.timeout)
				case <-ctx.Done():
					return
				}
			}
		}()
	} else {
		silence = time.AfterFunc(a.timeout, func() { gaveUp.Store(true); cancel() })
	}
	defer silence.Stop()
	program := programFinder{c: c}
	printed := uint64(0)
	show := func(e client.StoredEntry) error {
		silence.Stop() // a reader of standard output that is slow is no silence of the nodes
		defer silence.Reset(a.timeout)
		r := storedResult(program.of(ctx, e), e)
		if err := a.emit(r, r.line); err != nil {
			return err
		}
		if printed++; l.limit > 0 && printed == l.limit {
			return errLimit
		}
		return nil
	}
	var err error
	if l.follow {
		err = c.Watch(ctx, l.first, show)
	} else {
		_, err = c.Range(ctx, l.first, l.limit, show, readOptions(l.local)...)
	}
	switch {
	case errors.Is(err, errLimit):
		return nil
	case err != nil && gaveUp.Load():
		return errors.Wrapf(context.DeadlineExceeded, "no entry came from %s for %v", nodes, a.timeout)
	}
	return err
}
