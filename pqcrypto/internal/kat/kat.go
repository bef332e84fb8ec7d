// Package kat gives known-answer tests what the product must not have: deterministic signatures and
// arbitrary contexts, through the very code that the product signs and verifies with.
//
// Only tests import it; the functions are set by package pqcrypto when it is initialised.
package kat

// Sign makes a deterministic signature (FIPS 204, algorithm 2 with rnd = 0) with any context of at
// most 255 bytes. key is a *pqcrypto.SigningKey.
var Sign func(key any, context, msg []byte) ([]byte, error)

// Verify checks a signature with any context. key is a *pqcrypto.VerifyingKey.
var Verify func(key any, context, msg, sig []byte) bool
