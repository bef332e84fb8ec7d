package server

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"

	"google.golang.org/grpc/codes"
)

// cursors says where the next page of a list begins. A list passes rows that the caller may not read,
// and a page may end behind such a row, so a cursor is sealed: it shows nothing, not even by its
// length. It is for one caller, one call and one ledger.
type cursors struct {
	seal cipher.AEAD
}

// cursorRoom is the length of a cursor that is sealed: a length byte pair and the longest place in a
// list, which is an id and a number.
const cursorRoom = 2 + 254

// newCursors returns cursors under a secret of 32 bytes, which the nodes of a cluster share, so that
// another node goes on with a list.
func newCursors(secret []byte) (cursors, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return cursors{}, err
	}
	seal, err := cipher.NewGCM(block)
	return cursors{seal}, err
}

func cursorContext(ctx context.Context, call string) []byte {
	return []byte(call + "\x00" + backend(ctx).Origin() + "\x00" + caller(ctx).Principal)
}

// page returns the cursor of a place in a list; "" of none.
func (c cursors) page(ctx context.Context, call, place string) string {
	if place == "" {
		return ""
	}
	plain := make([]byte, cursorRoom)
	plain[0], plain[1] = byte(len(place)>>8), byte(len(place))
	copy(plain[2:], place)
	nonce := make([]byte, c.seal.NonceSize())
	_, _ = rand.Read(nonce) // it never fails
	return base64.RawURLEncoding.EncodeToString(c.seal.Seal(nonce, nonce, plain, cursorContext(ctx, call)))
}

// place returns the place in a list that a caller's cursor names; "" without a cursor.
func (c cursors) place(ctx context.Context, call, page string) (string, error) {
	if page == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(page)
	if n := c.seal.NonceSize(); err == nil && len(raw) >= n {
		if plain, err := c.seal.Open(nil, raw[:n], raw[n:], cursorContext(ctx, call)); err == nil && len(plain) == cursorRoom {
			if n := int(plain[0])<<8 | int(plain[1]); n <= cursorRoom-2 {
				return string(plain[2 : 2+n]), nil
			}
		}
	}
	return "", refuse(codes.InvalidArgument, ReasonInvalidArgument, "page: take it from the answer before, to the same caller about the same ledger; begin anew where the cluster's log key has changed since")
}
