package gate

import (
	"testing"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/settlement/gateway"
)

// TestRefused: an action counts as refused only when the node will never take it and has certainly
// not carried it out. Everything else is asked for again.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"malformed", &client.Error{Code: codes.InvalidArgument, Reason: client.ReasonInvalid, Definite: true}, true},
		{"too large", errors.Wrap(&client.Error{Code: codes.InvalidArgument, Reason: "BATCH_TOO_LARGE", Definite: true}, "x"), true},
		{"malformed, but an attempt before may have had its effect", &client.Error{Code: codes.InvalidArgument, Reason: client.ReasonInvalid}, false},
		{"overloaded", &client.Error{Code: codes.ResourceExhausted, Reason: "OVERLOADED", Definite: true}, false},
		{"no leader", &client.Error{Code: codes.Unavailable, Reason: "NO_LEADER", Definite: true}, false},
		{"no role", &client.Error{Code: codes.PermissionDenied, Reason: "PERMISSION_DENIED", Definite: true}, false},
		{"another program", &client.Error{Code: codes.FailedPrecondition, Reason: "WRONG_PROGRAM", Definite: true}, false},
		{"lost", &client.Error{Code: codes.Unavailable, Reason: client.ReasonUnreachable}, false},
		{"a lie", &client.VerificationError{What: "receipt", Err: errors.New("x")}, false},
	} {
		if got := errors.Is(refused(c.err), gateway.ErrRefused); got != c.want {
			t.Errorf("%s: refused is %v, want %v", c.name, got, c.want)
		}
		if !errors.Is(refused(c.err), c.err) {
			t.Errorf("%s: the error is lost", c.name)
		}
	}
}
