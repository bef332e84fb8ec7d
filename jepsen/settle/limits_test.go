package settle

import (
	"math/big"
	"testing"
)

// TestLimited: an entry may leave an account above its limit only if it added nothing that counts.
func TestLimited(t *testing.T) {
	with := func(flags byte, limit, dp, db, cp, cb int64) *account {
		return &account{id: "a", flags: flags, limit: big.NewInt(limit), dp: big.NewInt(dp), db: big.NewInt(db), cp: big.NewInt(cp), cb: big.NewInt(cb)}
	}
	for _, c := range []struct {
		name          string
		before, after *account
		want          bool
	}{
		{"at the limit", with(debitsLimited, 5, 0, 0, 0, 10), with(debitsLimited, 5, 7, 8, 0, 10), true},
		{"one above it", with(debitsLimited, 5, 0, 0, 0, 10), with(debitsLimited, 5, 8, 8, 0, 10), false},
		{"one above it, because pending debits count", with(debitsLimited, 0, 0, 10, 0, 10), with(debitsLimited, 0, 1, 10, 0, 10), false},
		{"pending credits are no funds", with(debitsLimited, 0, 0, 0, 9, 0), with(debitsLimited, 0, 1, 0, 9, 0), false},
		{"the limit was lowered", with(debitsLimited, 5, 0, 15, 0, 10), with(debitsLimited, 1, 0, 15, 0, 10), true},
		{"posted above a lowered limit", with(debitsLimited, 1, 5, 10, 0, 10), with(debitsLimited, 1, 0, 15, 0, 10), true},
		{"no limit", with(0, 0, 0, 0, 0, 0), with(0, 0, 9, 9, 0, 0), true},
		{"credits at the limit", with(creditsLimited, 5, 0, 10, 0, 0), with(creditsLimited, 5, 0, 10, 7, 8), true},
		{"credits one above it", with(creditsLimited, 5, 0, 10, 0, 0), with(creditsLimited, 5, 0, 10, 8, 8), false},
		{"an account that was not there", nil, with(debitsLimited, 0, 0, 0, 0, 0), true},
	} {
		if err := c.after.limited(c.before); (err == nil) != c.want {
			t.Errorf("%s: %v, want it to hold: %t", c.name, err, c.want)
		}
	}
}
