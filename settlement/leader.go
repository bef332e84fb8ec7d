package settlement

import "strings"

func (s *step) byLeader() bool { return strings.Contains(string(s.in.Principal), "/node/") }
