package settlement

import "github.com/cockroachdb/errors"

// Known returns the entry that decided this very command before, if one did: the command repeats a
// set, or transfers that one entry decided in this order. What the answer rests on never changes, so
// a command that is known need not be appended again. A command that is not known here may be
// decided already: Decide tells. Its errors are the reader's.
func Known(r Reader, principal []byte, action Action) (index uint64, known bool, err error) {
	a, ok := action.(*Submit)
	if !ok {
		return 0, false, nil
	}
	if a.Set != "" {
		state, err := ReadTransfer(r, a.Set)
		if err != nil || state.Digest != a.setDigest(principal) {
			return 0, false, ignoreUnknown(err)
		}
		return state.Index, true, nil
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
