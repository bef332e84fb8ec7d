package settlement

import "github.com/cockroachdb/errors"

// Known returns the entry that decided this very command before, if one did: the command repeats a
// set, transfers that one entry decided in this order, an instruction, or a request that has an id.
// What the answer rests on never changes, so
// a command that is known need not be appended again. A command that is not known here may be
// decided already: Decide tells. Its errors are the reader's.
func Known(r Reader, principal []byte, action Action) (index uint64, known bool, err error) {
	switch a := action.(type) {
	case *Submit:
		return knownSubmit(r, principal, a)
	case *Instruct:
		return knownID(r, a.ID, a.digest(principal))
	case *Manage:
		if a.Request != "" {
			return knownID(r, a.Request, a.digest(principal))
		}
	}
	return 0, false, nil
}

// knownID returns the entry that used an id, if it used it for this content.
func knownID(r Reader, id string, digest Digest) (index uint64, known bool, err error) {
	state, err := readState(r, id)
	if err != nil || state.Digest != digest {
		return 0, false, ignoreUnknown(err)
	}
	return state.Index, true, nil
}

func knownSubmit(r Reader, principal []byte, a *Submit) (index uint64, known bool, err error) {
	if a.Set != "" {
		return knownID(r, a.Set, a.setDigest(principal))
	}
	for i := range a.Transfers {
		state, err := ReadTransfer(r, a.Transfers[i].ID)
		if err != nil || state.Digest != a.digest(principal, i) || int(state.Position) != i || i > 0 && state.Index != index {
			return 0, false, ignoreUnknown(err)
		}
		index = state.Index
	}
	return index, true, nil
}

func ignoreUnknown(err error) error {
	if errors.Is(err, ErrUnknown) {
		return nil
	}
	return err
}
