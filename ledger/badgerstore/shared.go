package badgerstore

import "github.com/cairnledger/cairn/ledger"

// Shared returns the store for one of several ledgers: closing what it returns closes nothing.
// Whoever opened the store closes it, after all of its ledgers.
func (s *Store) Shared() ledger.Store { return ledger.Shared(s) }
