package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"
)

// digest stands in an entry for a document that is too large for one, or that must not leave its
// owner. docs/formats.md defines the text.
type digest struct {
	sum  [sha256.Size]byte
	size int64
}

const digestPrefix = "cairn-digest v1 sha256 "

// marshal returns the payload: one line with its newline.
func (d digest) marshal() []byte {
	return fmt.Appendf(nil, "%s%x %d\n", digestPrefix, d.sum, d.size)
}

// parseDigest reads a payload that marshal wrote, and no other spelling of it.
func parseDigest(payload []byte) (d digest, ok bool) {
	rest, ok := strings.CutPrefix(string(payload), digestPrefix)
	if !ok {
		return d, false
	}
	sum, size, _ := strings.Cut(strings.TrimSuffix(rest, "\n"), " ")
	raw, err := hex.DecodeString(sum)
	if err != nil || len(raw) != len(d.sum) {
		return d, false
	}
	copy(d.sum[:], raw)
	if d.size, err = strconv.ParseInt(size, 10, 64); err != nil || d.size < 0 {
		return d, false
	}
	return d, string(d.marshal()) == string(payload)
}

// digestOf reads a document to its end.
func digestOf(r io.Reader) (d digest, err error) {
	h := sha256.New()
	d.size, err = io.Copy(h, r)
	h.Sum(d.sum[:0])
	return d, err
}

// digestFile computes the digest of a file.
func digestFile(path string) (digest, error) {
	f, err := openNamed(path)
	if err != nil {
		return digest{}, err
	}
	defer f.Close()
	return digestOf(f)
}

// digestInput computes the digest of a file, or of standard input for "-". The read of standard
// input can be interrupted: it is then left behind, and ends with the process.
func (a *app) digestInput(ctx context.Context, name string) (digest, error) {
	type result struct {
		d   digest
		err error
	}
	done := make(chan result, 1)
	go func() {
		if name == "-" {
			d, err := digestOf(a.in)
			done <- result{d, errors.Wrap(err, "read standard input")}
			return
		}
		d, err := digestFile(name)
		done <- result{d, err}
	}()
	select {
	case r := <-done:
		return r.d, r.err
	case <-ctx.Done():
		return digest{}, ctx.Err()
	}
}
