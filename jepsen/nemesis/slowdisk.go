package nemesis

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/errors"
)

// slowDisk makes every write to a node's disk wait for a while, by freezing the disk
// again and again.
type slowDisk struct {
	a     *Arena
	who   Who
	nodes []int
	stop  context.CancelFunc
	wg    sync.WaitGroup

	mu      sync.Mutex
	freezes int           // that were not cut short
	waited  time.Duration // of writes by us
	problem error
}

func (s *slowDisk) Inject(context.Context) (err error) {
	if s.nodes, err = s.a.choose("slow disk", s.who); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	for _, i := range s.nodes {
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			for ctx.Err() == nil {
				s.once(ctx, i)
			}
		}()
	}
	return nil
}

// once freezes a disk for a moment and measures how long a write takes meanwhile.
func (s *slowDisk) once(ctx context.Context, i int) {
	disk, path := s.a.Disk(i), filepath.Join(filepath.Dir(s.a.DataDir(i)), "slow")
	err := disk.Freeze()
	took, cut := make(chan time.Duration, 1), false
	if err == nil {
		begun := time.Now()
		go func() {
			_ = os.WriteFile(path, nil, 0o600)
			took <- time.Since(begun)
		}()
		cut = sleep(ctx, s.a.between(20*time.Millisecond, 250*time.Millisecond)) != nil
		err = disk.Thaw()
	}
	if err != nil {
		s.stop()
		s.note(0, err)
		return
	}
	if waited := <-took; !cut {
		s.note(waited, nil)
	}
	_ = sleep(ctx, s.a.between(5*time.Millisecond, 60*time.Millisecond))
}

func (s *slowDisk) note(waited time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.freezes++
	s.waited += waited
	s.problem = errors.CombineErrors(s.problem, err)
}

// struck says whether a write has waited, or none ever will.
func (s *slowDisk) struck() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.freezes > 0
}

func (s *slowDisk) Target() string { return strings.Join(s.a.Names(s.nodes), ", ") }

func (s *slowDisk) Heal(context.Context) error {
	defer s.a.Release(s.nodes...)
	if s.stop != nil {
		// On a busy machine the first freeze may take longer than the fault.
		for begun := time.Now(); !s.struck() && time.Since(begun) < touchPatience; {
			time.Sleep(10 * time.Millisecond)
		}
		s.stop()
		s.wg.Wait()
	}
	err := s.problem
	for _, i := range s.nodes {
		err = errors.CombineErrors(err, s.a.Disk(i).Thaw())
	}
	return err
}

func (s *slowDisk) Observed(context.Context) (string, error) {
	if s.waited < time.Duration(s.freezes)*10*time.Millisecond || s.freezes == 0 {
		return "", errors.Newf("writes waited %s in %d freezes", s.waited, s.freezes)
	}
	return fmt.Sprintf("%d writes waited %s on average", s.freezes, (s.waited / time.Duration(s.freezes)).Round(time.Millisecond)), nil
}
