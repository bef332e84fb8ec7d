package nemesis

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/errors"
)

// clock moves the wall clocks of nodes, once or again and again. Nothing may depend
// on them but time stamps and the validity of certificates.
type clock struct {
	a       *Arena
	who     Who
	strobes bool

	nodes  []int
	stop   context.CancelFunc
	wg     sync.WaitGroup
	offset time.Duration // of the first move
	seen   time.Duration // how far from the true time the first node was after it
	unseen error
	moves  int
}

func (c *clock) Inject(ctx context.Context) (err error) {
	if c.nodes, err = c.a.choose("clock", c.who); err != nil {
		return err
	}
	// Far enough to be told from a slow answer.
	c.offset = c.a.between(20*time.Second, 2*time.Minute)
	if c.a.intN(3) == 0 {
		c.offset *= 60
	}
	if c.a.intN(2) == 0 {
		c.offset = -c.offset
	}
	if err := c.move(c.offset); err != nil {
		return err
	}
	c.seen, c.unseen = c.observe(ctx, c.nodes[0])
	if !c.strobes {
		return nil
	}
	running, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		for sleep(running, c.a.between(5*time.Millisecond, 200*time.Millisecond)) == nil {
			if err := c.move(c.a.between(-5*time.Second, 5*time.Second)); err != nil {
				c.unseen = err
				return
			}
		}
	}()
	return nil
}

func (c *clock) move(offset time.Duration) (err error) {
	for _, i := range c.nodes {
		err = errors.CombineErrors(err, c.a.SetClock(i, offset))
	}
	c.moves++
	return err
}

// observe asks a node for the time, until it answers: it may only just have started.
func (c *clock) observe(ctx context.Context, i int) (away time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, touchPatience)
	defer cancel()
	for {
		if away, err = c.ask(ctx, i); err == nil || sleep(ctx, 100*time.Millisecond) != nil {
			return away, err
		}
	}
}

// ask asks a node for the time: its HTTP answers carry it.
func (c *clock) ask(ctx context.Context, i int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.a.Cluster.Nodes()[i].HTTPURL()+"/livez", nil)
	if err != nil {
		return 0, errors.Wrap(err, "ask for the time")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, errors.Wrap(err, "ask for the time")
	}
	defer resp.Body.Close()
	now, err := http.ParseTime(resp.Header.Get("Date"))
	return time.Until(now), errors.Wrap(err, "ask for the time")
}

func (c *clock) Target() string { return strings.Join(c.a.Names(c.nodes), ", ") }

func (c *clock) Heal(context.Context) error {
	defer c.a.Release(c.nodes...)
	if c.stop != nil {
		c.stop()
		c.wg.Wait()
	}
	return c.move(0)
}

func (c *clock) Observed(context.Context) (string, error) {
	switch {
	case c.unseen != nil:
		return "", c.unseen
	case (c.seen - c.offset).Abs() > 10*time.Second:
		return "", errors.Newf("the clock of %s was moved by %s, and the node was %s away", c.a.Name(c.nodes[0]), c.offset, c.seen)
	}
	return fmt.Sprintf("%s said a time %s away from the true one; %d moves", c.a.Name(c.nodes[0]), c.seen.Round(time.Second), c.moves), nil
}
