package trial

import (
	"bufio"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/merkle"
)

// TestFinalFile: a run that is checked again sees the same ledger, its genesis among it.
func TestFinalFile(t *testing.T) {
	final := []check.FinalEntry{
		{Key: history.Digest{1}, Body: history.Digest{2}, Leaf: merkle.Hash{3}, Genesis: true},
		{Key: history.Digest{4}, Body: history.Digest{5}, Leaf: merkle.Hash{6}},
	}
	path := filepath.Join(t.TempDir(), finalFile)
	if err := writeFile(path, func(w *bufio.Writer) error { return writeFinal(w, final) }); err != nil {
		t.Fatal(err)
	}
	if got, err := loadFinal(path); err != nil || !slices.Equal(got, final) {
		t.Errorf("read %v, %v, want %v", got, err, final)
	}
}
