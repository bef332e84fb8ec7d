package settlement

import (
	"encoding/binary"
	"math/big"
)

// isShortage reports whether a reason is that there is not enough, so that a part may go.
func (r Reason) isShortage() bool {
	return r == InsufficientFunds || r == LimitExceeded || r == CreditLimitExceeded
}

// Of two legs, the one with the fewer minor units is counted: of it any number may go. The other leg
// follows: so much of it has gone in all as is in proportion, rounded down. So what has gone of it is
// never more than one minor unit below the proportion, no part moves nothing of a leg, and the last
// part brings both legs to their whole amounts.
func countedLeg(legs []legPair) (counted, other *legPair) {
	switch {
	case len(legs) == 1:
		return &legs[0], nil
	case legs[1].from.Amount.Cmp(legs[0].from.Amount) < 0:
		return &legs[1], &legs[0]
	}
	return &legs[0], &legs[1]
}

// part returns the largest part of the legs for which there is room, for each leg an amount; 0 when
// there is none. All accounts take transfers.
func part(legs []legPair) [2]Amount {
	counted, other := countedLeg(legs)
	sum, _ := counted.from.Settled.Add(legRoom(counted))
	if other != nil {
		// Of the other leg, at most most = settled + room may have gone. With whole · sum / counted
		// rounded down, that is so as long as sum ≤ ((most + 1) · counted − 1) / whole.
		most, _ := other.from.Settled.Add(legRoom(other))
		bound := new(big.Int).Add(bigOf(most), big.NewInt(1))
		bound.Mul(bound, bigOf(counted.from.Amount)).Sub(bound, big.NewInt(1)).Div(bound, bigOf(other.from.Amount))
		if bound.Cmp(bigOf(sum)) < 0 {
			sum = amountOf(bound)
		}
	}
	return upTo(legs, sum)
}

// leastPart returns the smallest part of the legs: one minor unit of the counted leg.
func leastPart(legs []legPair) [2]Amount {
	counted, _ := countedLeg(legs)
	sum, _ := counted.from.Settled.Add(AmountOf(1))
	return upTo(legs, sum)
}

// upTo returns the part after which sum has gone of the counted leg, 0 when as much has gone already.
func upTo(legs []legPair, sum Amount) (amounts [2]Amount) {
	counted, other := countedLeg(legs)
	for i := range legs {
		switch l := &legs[i]; l {
		case counted:
			amounts[i] = sum.subFloored(l.from.Settled)
		case other:
			follows := new(big.Int).Mul(bigOf(l.from.Amount), bigOf(sum))
			amounts[i] = amountOf(follows.Div(follows, bigOf(counted.from.Amount))).subFloored(l.from.Settled)
		}
	}
	return amounts
}

// legRoom returns how much of the rest of a leg there is room for.
func legRoom(l *legPair) Amount {
	least := l.rest
	for _, r := range []Amount{debitRoom(l.debit.value), creditRoom(l.credit.value)} {
		if r.Cmp(least) < 0 {
			least = r
		}
	}
	return least
}

func bigOf(a Amount) *big.Int {
	n := new(big.Int).SetUint64(a.Hi)
	return n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(a.Lo))
}

// amountOf returns a number that fits an Amount.
func amountOf(n *big.Int) Amount {
	var full [16]byte
	n.FillBytes(full[:])
	return Amount{binary.BigEndian.Uint64(full[:]), binary.BigEndian.Uint64(full[8:])}
}
