package pqcrypto

import "github.com/cairnledger/cairn/pqcrypto/internal/kat"

func init() {
	kat.Sign = func(key any, context, msg []byte) ([]byte, error) {
		return key.(*SigningKey).sign(context, msg, false)
	}
	kat.Verify = func(key any, context, msg, sig []byte) bool {
		return key.(*VerifyingKey).verify(context, msg, sig)
	}
}
