// Package cairnv1 is the generated form of api/proto/cairn/v1: messages, gRPC clients and servers.
//
// Programs use api/client; other languages generate their own from the same file. Regenerate with
// tools/generate.sh.
package cairnv1
