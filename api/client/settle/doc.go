// Package settle asks a settlement ledger for transfers and reads its accounts. It works on a
// client.Client: connections, retries, deadlines, and what is definite about an error are that
// package's.
//
//	c, err := client.Dial(ctx, profile)
//	s := settle.New(c)
//	amount, err := settlement.ParseDecimal("12.34")
//	outcomes, err := s.Execute(ctx, []settlement.Action{&settlement.Submit{Transfers: []settlement.Transfer{
//		{ID: "t-1", Debit: "alice", Credit: "bob", Amount: amount},
//	}}})
//
// # Exactly once
//
// A transfer has an id, and an id is decided once. So Execute repeats a request whose answer was
// lost, and a caller who repeats it later, after a restart too, gets the first outcome. An action
// that would do something else the second time (ChangeAccount, and Manage without a Request) is not
// repeated: its error then says that the outcome is unknown.
//
// A rejection is no error. It is an outcome, with a reason.
package settle
