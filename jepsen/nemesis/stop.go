package nemesis

import "context"

// stop ends processes politely, with SIGTERM: a leader hands over first.
type stop struct{ kill }

func (s *stop) Inject(ctx context.Context) (err error) {
	if s.nodes, err = s.a.choose("stop", s.who); err != nil {
		return err
	}
	s.before = s.a.pids(s.nodes)
	if err := s.a.Stop(s.nodes...); err != nil {
		return err
	}
	s.gone = s.a.down(s.nodes)
	return nil
}
