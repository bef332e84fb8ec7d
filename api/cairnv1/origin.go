package cairnv1

import (
	"context"

	"google.golang.org/grpc"
)

// OriginHeader is request metadata that names the ledger which the caller means, by its origin.
// Every call of the services of cairn.v1 must carry it exactly once. A node refuses a call that
// names no ledger or one that the node does not host, so that a client cannot read from, or write
// into, the wrong ledger. A call of the service Directory may name any ledger that the node hosts:
// it says which cluster is meant.
const OriginHeader = "cairn-origin"

// ForLedger makes every call on a connection name a ledger.
func ForLedger(origin string) grpc.DialOption { return grpc.WithPerRPCCredentials(forLedger(origin)) }

type forLedger string

func (l forLedger) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{OriginHeader: string(l)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. The name of a ledger is no
// secret.
func (forLedger) RequireTransportSecurity() bool { return false }
