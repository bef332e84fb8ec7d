package gateway

import (
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/settlement"
)

// room is how many bytes a command and its largest outcome may have together, whoever asks.
var room = ledger.MaxBody("", 0) - ledger.MaxPrincipalSize

// pack puts the transfers of a message into commands, each of which fits into a leaf. like has what
// all commands share. The first command holds the message itself, if there is room for it; all others
// hold its digest. The cut depends on the arguments alone, so that a repetition is cut in the same
// way: then the ledger knows each command as a whole.
func pack(like settlement.Submit, transfers []settlement.Transfer, definition string, raw []byte) []settlement.Action {
	var actions []settlement.Action
	for len(transfers) > 0 {
		submit := like
		if len(actions) == 0 {
			submit.Source = settlement.NewSource(definition, raw, room-need(&like, transfers[0]))
		} else {
			submit.Source = settlement.NewSource(definition, raw, -1)
		}
		used := len(submit.Source.Raw)
		n := 0
		for n < len(transfers) && n < settlement.MaxTransfers {
			size := need(&like, transfers[n])
			if n > 0 && used+size > room {
				break
			}
			used += size
			n++
		}
		submit.Transfers, transfers = transfers[:n], transfers[n:]
		actions = append(actions, &submit)
	}
	return actions
}

// sourceOf returns the source of an action that has none yet: the message, if there is room for it.
func sourceOf(action settlement.Action, definition string, raw []byte) settlement.Source {
	command := settlement.Command{Action: action}
	body, err := command.Marshal()
	if err != nil {
		return settlement.NewSource(definition, raw, -1) // the ledger says what is wrong with it
	}
	return settlement.NewSource(definition, raw, room-len(body)-command.MaxOutcome()-sourceHead)
}

// sourceHead is the largest size of a source in bytes, the message itself not counted.
const sourceHead = 1 + 2 + 64 + 8 + len(settlement.Digest{})

// need is at least how many bytes a transfer takes in a command and in its outcome.
func need(like *settlement.Submit, t settlement.Transfer) int {
	submit := *like
	submit.Transfers = []settlement.Transfer{t}
	command := settlement.Command{Action: &submit}
	body, err := command.Marshal()
	if err != nil {
		return 0 // the ledger says what is wrong with it
	}
	return len(body) + command.MaxOutcome() + sourceHead
}
