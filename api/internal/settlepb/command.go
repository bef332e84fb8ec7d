// Package settlepb translates between package settlement and the messages of cairn.v1. The server
// and the client share it. A message that says something that no command can say is refused with a
// sentence that names the field.
package settlepb

import (
	"slices"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/settlement"
)

// Action returns what a message asks for.
func Action(m *cairnv1.SettlementCommand) (settlement.Action, error) {
	switch a := m.GetAction().(type) {
	case *cairnv1.SettlementCommand_CreateAsset:
		if a.CreateAsset.GetScale() > settlement.MaxScale {
			return nil, errors.Newf("create_asset: a scale of %d; at most %d", a.CreateAsset.GetScale(), settlement.MaxScale)
		}
		return &settlement.CreateAsset{ID: a.CreateAsset.GetId(), Scale: uint8(a.CreateAsset.GetScale())}, nil
	case *cairnv1.SettlementCommand_OpenAccount:
		return openAccount(a.OpenAccount)
	case *cairnv1.SettlementCommand_ChangeAccount:
		return changeAccount(a.ChangeAccount)
	case *cairnv1.SettlementCommand_Submit:
		return submit(a.Submit)
	case *cairnv1.SettlementCommand_Resolve:
		return resolve(a.Resolve)
	case *cairnv1.SettlementCommand_Instruct:
		action, err := instruct(a.Instruct)
		return action, errors.Wrap(err, "instruct")
	case *cairnv1.SettlementCommand_Manage:
		action, err := manage(a.Manage)
		return action, errors.Wrap(err, "manage")
	}
	return nil, errors.New("a command without an action")
}

func openAccount(m *cairnv1.OpenAccount) (settlement.Action, error) {
	a := &settlement.OpenAccount{ID: m.GetId(), Asset: m.GetAsset(), Owners: owners(m.GetOwners())}
	if m.GetDebitsLimited() {
		a.Flags |= settlement.DebitsLimited
	}
	if m.GetCreditsLimited() {
		a.Flags |= settlement.CreditsLimited
	}
	if m.GetFrozen() {
		a.Flags |= settlement.Frozen
	}
	if n := copy(a.Key[:], m.GetKey()); n != len(m.GetKey()) || n != 0 && n != len(a.Key) {
		return nil, errors.Newf("open_account: a key of %d bytes; give it 32, or none", len(m.GetKey()))
	}
	var err error
	if m.GetLimit() != "" {
		a.Limit, err = settlement.ParseDecimal(m.GetLimit())
	}
	return a, errors.Wrap(err, "open_account: limit")
}

func owners(names []string) []string {
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

func changeAccount(m *cairnv1.ChangeAccount) (settlement.Action, error) {
	a := &settlement.ChangeAccount{ID: m.GetId(), Frozen: m.Frozen, Close: m.GetClose()}
	if m.Limit != nil {
		limit, err := settlement.ParseDecimal(m.GetLimit())
		if err != nil {
			return nil, errors.Wrap(err, "change_account: limit")
		}
		a.Limit = &limit
	}
	if m.GetOwners() != nil {
		a.SetOwners, a.Owners = true, owners(m.GetOwners().GetOwners())
	}
	return a, nil
}

func submit(m *cairnv1.SubmitTransfers) (settlement.Action, error) {
	a := &settlement.Submit{Set: m.GetSet(), Pending: m.GetPending(), Timeout: m.GetTimeout()}
	for i, c := range m.GetConditions() {
		condition, err := condition(c)
		if err != nil {
			return nil, errors.Wrapf(err, "condition %d", i)
		}
		a.Conditions = append(a.Conditions, condition)
	}
	for i, t := range m.GetTransfers() {
		amount, err := settlement.ParseDecimal(t.GetAmount())
		if err != nil {
			return nil, errors.Wrapf(err, "transfer %d", i)
		}
		refs, err := references(t.GetReferences())
		if err != nil {
			return nil, errors.Wrapf(err, "transfer %d", i)
		}
		a.Transfers = append(a.Transfers, settlement.Transfer{
			ID: t.GetId(), Debit: t.GetDebit(), Credit: t.GetCredit(), Asset: t.GetAsset(), Amount: amount, Original: t.GetOriginal(), References: refs,
		})
	}
	var err error
	a.Source, err = source(m.GetSource())
	return a, err
}

func source(m *cairnv1.MessageSource) (settlement.Source, error) {
	switch n := len(m.GetDigest()); {
	case m == nil:
		return settlement.Source{}, nil
	case n == 0:
		return settlement.NewSource(m.GetType(), m.GetRaw(), settlement.MaxRawSource), nil
	case n != len(settlement.Digest{}) || len(m.GetRaw()) > 0:
		return settlement.Source{}, errors.New("source: give the message, or its SHA-256 of 32 bytes and its size")
	}
	return settlement.Source{Form: settlement.DigestSource, Type: m.GetType(), Digest: settlement.Digest(m.GetDigest()), Size: m.GetSize()}, nil
}

func references(list []*cairnv1.Reference) ([]settlement.Reference, error) {
	var refs []settlement.Reference
	for _, r := range list {
		kind, err := settlement.ParseReferenceKind(r.GetKind())
		if err != nil {
			return nil, err
		}
		refs = append(refs, settlement.Reference{Kind: kind, Value: r.GetValue()})
	}
	slices.SortStableFunc(refs, func(a, b settlement.Reference) int { return int(a.Kind) - int(b.Kind) })
	return refs, nil
}

func condition(m *cairnv1.SettlementCondition) (c settlement.Condition, err error) {
	switch x := m.GetCondition().(type) {
	case *cairnv1.SettlementCondition_BalanceAtLeast:
		c.Kind, c.ID = settlement.BalanceAtLeast, x.BalanceAtLeast.GetAccount()
		c.Amount, err = settlement.ParseDecimal(x.BalanceAtLeast.GetAmount())
	case *cairnv1.SettlementCondition_AccountVersion:
		c = settlement.Condition{Kind: settlement.AccountVersion, ID: x.AccountVersion.GetAccount(), Number: x.AccountVersion.GetSequence()}
	case *cairnv1.SettlementCondition_TransferState:
		c.Kind, c.ID = settlement.EntryState, x.TransferState.GetId()
		c.State, err = settlement.ParseStatus(x.TransferState.GetStatus())
	case *cairnv1.SettlementCondition_NotBefore:
		c = settlement.Condition{Kind: settlement.NotBefore, Number: uint64(x.NotBefore)}
	case *cairnv1.SettlementCondition_Deadline:
		c = settlement.Condition{Kind: settlement.Deadline, Number: uint64(x.Deadline)}
	default:
		err = errors.New("a condition that says nothing")
	}
	return c, err
}

func resolve(m *cairnv1.ResolveTransfer) (settlement.Action, error) {
	a := &settlement.Resolve{ID: m.GetId(), Void: m.GetVoid()}
	for _, p := range m.GetAmounts() {
		amount, err := settlement.ParseDecimal(p.GetAmount())
		if err != nil {
			return nil, err
		}
		a.Amounts = append(a.Amounts, settlement.Partial{ID: p.GetId(), Amount: amount})
	}
	slices.SortStableFunc(a.Amounts, func(x, y settlement.Partial) int { return strings.Compare(x.ID, y.ID) })
	var err error
	a.Source, err = source(m.GetSource())
	return a, err
}

// Command returns the message that asks for an action, the opposite of Action.
func Command(action settlement.Action) (*cairnv1.SettlementCommand, error) {
	m := &cairnv1.SettlementCommand{}
	switch a := action.(type) {
	case *settlement.CreateAsset:
		m.Action = &cairnv1.SettlementCommand_CreateAsset{CreateAsset: &cairnv1.CreateAsset{Id: a.ID, Scale: uint32(a.Scale)}}
	case *settlement.OpenAccount:
		open := &cairnv1.OpenAccount{
			Id: a.ID, Asset: a.Asset, DebitsLimited: a.Flags.Has(settlement.DebitsLimited), CreditsLimited: a.Flags.Has(settlement.CreditsLimited),
			Frozen: a.Flags.Has(settlement.Frozen), Limit: a.Limit.String(), Owners: a.Owners,
		}
		if a.Key != (settlement.Key{}) {
			open.Key = a.Key[:]
		}
		m.Action = &cairnv1.SettlementCommand_OpenAccount{OpenAccount: open}
	case *settlement.ChangeAccount:
		c := &cairnv1.ChangeAccount{Id: a.ID, Frozen: a.Frozen, Close: a.Close}
		if a.Limit != nil {
			limit := a.Limit.String()
			c.Limit = &limit
		}
		if a.SetOwners {
			c.Owners = &cairnv1.OwnerList{Owners: a.Owners}
		}
		m.Action = &cairnv1.SettlementCommand_ChangeAccount{ChangeAccount: c}
	case *settlement.Submit:
		m.Action = &cairnv1.SettlementCommand_Submit{Submit: submitMessage(a)}
	case *settlement.Resolve:
		r := &cairnv1.ResolveTransfer{Id: a.ID, Void: a.Void, Source: sourceMessage(&a.Source)}
		for _, p := range a.Amounts {
			r.Amounts = append(r.Amounts, &cairnv1.PartialAmount{Id: p.ID, Amount: p.Amount.String()})
		}
		m.Action = &cairnv1.SettlementCommand_Resolve{Resolve: r}
	case *settlement.Instruct:
		i := Instruct(a)
		i.Source = sourceMessage(&a.Source)
		m.Action = &cairnv1.SettlementCommand_Instruct{Instruct: i}
	case *settlement.Manage:
		m.Action = &cairnv1.SettlementCommand_Manage{Manage: &cairnv1.ManageInstruction{Request: a.Request, Id: a.ID, Change: a.Change.String()}}
	default:
		return nil, errors.Newf("a client cannot ask for %T", action)
	}
	return m, nil
}

func submitMessage(a *settlement.Submit) *cairnv1.SubmitTransfers {
	m := &cairnv1.SubmitTransfers{Set: a.Set, Pending: a.Pending, Timeout: a.Timeout}
	for i := range a.Conditions {
		m.Conditions = append(m.Conditions, conditionMessage(&a.Conditions[i]))
	}
	for i := range a.Transfers {
		t := &a.Transfers[i]
		m.Transfers = append(m.Transfers, &cairnv1.Transfer{
			Id: t.ID, Debit: t.Debit, Credit: t.Credit, Amount: t.Amount.String(), Asset: t.Asset, Original: t.Original, References: References(t.References),
		})
	}
	m.Source = sourceMessage(&a.Source)
	return m
}

func sourceMessage(s *settlement.Source) *cairnv1.MessageSource {
	switch s.Form {
	case settlement.RawSource:
		return &cairnv1.MessageSource{Type: s.Type, Raw: s.Raw}
	case settlement.DigestSource:
		return &cairnv1.MessageSource{Type: s.Type, Digest: s.Digest[:], Size: s.Size}
	}
	return nil
}

func conditionMessage(c *settlement.Condition) *cairnv1.SettlementCondition {
	m := &cairnv1.SettlementCondition{}
	switch c.Kind {
	case settlement.BalanceAtLeast:
		m.Condition = &cairnv1.SettlementCondition_BalanceAtLeast{BalanceAtLeast: &cairnv1.BalanceAtLeast{Account: c.ID, Amount: c.Amount.String()}}
	case settlement.AccountVersion:
		m.Condition = &cairnv1.SettlementCondition_AccountVersion{AccountVersion: &cairnv1.AccountVersion{Account: c.ID, Sequence: c.Number}}
	case settlement.EntryState:
		m.Condition = &cairnv1.SettlementCondition_TransferState{TransferState: &cairnv1.TransferState{Id: c.ID, Status: c.State.String()}}
	case settlement.NotBefore:
		m.Condition = &cairnv1.SettlementCondition_NotBefore{NotBefore: int64(c.Number)}
	case settlement.Deadline:
		m.Condition = &cairnv1.SettlementCondition_Deadline{Deadline: int64(c.Number)}
	}
	return m
}

// References returns references as messages.
func References(refs []settlement.Reference) []*cairnv1.Reference {
	var list []*cairnv1.Reference
	for _, r := range refs {
		list = append(list, &cairnv1.Reference{Kind: r.Kind.String(), Value: r.Value})
	}
	return list
}
