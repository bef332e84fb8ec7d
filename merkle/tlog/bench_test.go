package tlog

import "testing"

func BenchmarkCosign(b *testing.B) {
	l := newTestLedger(b, 1)
	for b.Loop() {
		if _, err := l.log.Cosign(l.checkpoint(), 1); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerifyReceipt verifies three signatures and an inclusion proof.
func BenchmarkVerifyReceipt(b *testing.B) {
	l := newTestLedger(b, 3)
	p := l.policy(b, 2)
	file := l.receipt(b, 7, 2).Marshal()
	for b.Loop() {
		r, err := ParseReceipt(file)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.VerifyReceipt(r); err != nil {
			b.Fatal(err)
		}
	}
}
