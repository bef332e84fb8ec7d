// The path lies below pqcrypto, although the folder doesn't, so that the tests may use pqcrypto/internal/kat: deterministic signatures and
// arbitrary contexts through the code of the product. Nothing imports this module.
module github.com/cairnledger/cairn/pqcrypto/interop/mldsa

go 1.26.4

require (
	filippo.io/mldsa v1.0.0
	github.com/c2sp/wycheproof v0.0.0-20260902155932-3fa63dd0344a
	github.com/cairnledger/cairn v0.0.0
	golang.org/x/crypto v0.59.0
)

require (
	github.com/cloudflare/circl v1.6.5 // indirect
	github.com/cockroachdb/errors v1.14.0 // indirect
	github.com/cockroachdb/logtags v0.0.0-20230118201751-21c54148d20b // indirect
	github.com/cockroachdb/redact v1.1.5 // indirect
	github.com/getsentry/sentry-go v0.46.0 // indirect
	github.com/gogo/protobuf v1.3.2 // indirect
	github.com/kr/pretty v0.3.1 // indirect
	github.com/kr/text v0.2.0 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/rogpeppe/go-internal v1.16.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
	golang.org/x/text v0.44.0 // indirect
)

replace github.com/cairnledger/cairn => ../..
