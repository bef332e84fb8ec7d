module github.com/cairnledger/cairn/interop/proofs

go 1.26.0
