package settlement

import "bytes"

func (s *step) createAsset(a *CreateAsset) {
	if !s.command.Operator {
		s.reject(NotPermitted)
		return
	}
	known, found := s.asset(a.ID)
	switch {
	case !found:
		s.view.Put(rowKey(rowAsset, a.ID), asset{a.Scale, s.in.Index}.marshal())
		s.result(Result{Status: Done})
	case known.scale == a.Scale:
		s.result(Result{Status: Exists, Index: known.index})
	default:
		s.result(Result{Status: Conflict, Index: known.index})
	}
}

// limitOf returns a limit in minor units of an asset of this scale, or why it cannot be.
func limitOf(limit Decimal, scale uint8) (Amount, Reason) {
	amount, ok := limit.Minor(scale)
	switch {
	case limit.Scale > scale:
		return Amount{}, AmountScale
	case !ok:
		return Amount{}, AmountOverflow
	}
	return amount, NoReason
}

// openAccount opens an account. The account exists when one with this id, asset, flags, limit and
// owners is open; its balances are not compared, nor is the key: it is that of the first command.
func (s *step) openAccount(a *OpenAccount) {
	if !s.command.Operator {
		s.reject(NotPermitted)
		return
	}
	asset, found := s.asset(a.Asset)
	if !found {
		s.reject(AssetUnknown)
		return
	}
	limit, reason := limitOf(a.Limit, asset.scale)
	if reason != NoReason {
		s.reject(reason)
		return
	}
	owners := marshalOwners(a.Owners)
	if known := s.account(a.ID); known != nil {
		k := known.value
		stored, _ := s.view.Get(rowKey(rowOwners, a.ID))
		status := Conflict
		if k.Asset == a.Asset && k.Flags == a.Flags && k.Limit == limit && bytes.Equal(stored, owners) {
			status = Exists
		}
		s.result(Result{Status: status, Index: k.Last})
		return
	}
	s.addAccount(&Account{ID: a.ID, Asset: a.Asset, Scale: asset.scale, Flags: a.Flags, Limit: limit, key: a.Key})
	if owners != nil {
		s.view.Put(rowKey(rowOwners, a.ID), owners)
	}
	s.result(Result{Status: Done})
}

func (s *step) changeAccount(a *ChangeAccount) {
	if !s.command.Operator {
		s.reject(NotPermitted)
		return
	}
	row := s.account(a.ID)
	if row == nil {
		s.reject(AccountUnknown)
		return
	}
	account := row.value
	limit := account.Limit
	if a.Limit != nil {
		var reason Reason
		if limit, reason = limitOf(*a.Limit, account.Scale); reason != NoReason {
			s.reject(reason)
			return
		}
	}
	b := &account.Balances
	switch {
	case account.Flags.Has(Closed):
		s.reject(AccountClosed)
		return
	case a.Limit != nil && account.Flags&(DebitsLimited|CreditsLimited) == 0:
		s.reject(NoLimit)
		return
	case a.Close && !(b.DebitsPending.IsZero() && b.CreditsPending.IsZero()):
		s.reject(AccountPending)
		return
	case a.Close && b.DebitsPosted != b.CreditsPosted:
		s.reject(BalanceLeft)
		return
	}
	account.Limit = limit
	if a.Frozen != nil {
		account.Flags &^= Frozen
		if *a.Frozen {
			account.Flags |= Frozen
		}
	}
	if a.Close {
		account.Flags |= Closed
	}
	if a.SetOwners {
		s.view.Put(rowKey(rowOwners, a.ID), marshalOwners(a.Owners))
	}
	row.changed = true
	s.result(Result{Status: Done})
}
