package proofs

import (
	"os/exec"
	"testing"
)

// TestVectors: the verifier in Python accepts and refuses the published examples.
func TestVectors(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3")
	}
	out, err := exec.Command(python, "verify.py", "../../settlement/proof/testdata/vectors.json").CombinedOutput()
	if want := "12 accepted, 31 refused\n"; err != nil || string(out) != want {
		t.Errorf("it says %q, %v, want %q", out, err, want)
	}
}

// TestPolicyChain: the verifier in Python accepts and refuses the published examples of chains of
// policies. It counts the keys that signed and does not verify their signatures.
func TestPolicyChain(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3")
	}
	out, err := exec.Command(python, "policychain.py", "../../ledger/policychain/testdata/vectors.json").CombinedOutput()
	if want := "6 accepted, 10 refused\n"; err != nil || string(out) != want {
		t.Errorf("it says %q, %v, want %q", out, err, want)
	}
}
