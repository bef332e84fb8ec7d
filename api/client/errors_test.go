package client

import (
	"reflect"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/merkle"
)

// TestNobodyAnswered: an error names the node that answered, and none if none did.
func TestNobodyAnswered(t *testing.T) {
	n1 := Endpoint{"n1", "192.0.2.1:1"}
	for text, answered := range map[string]bool{
		"connection error: desc = \"transport: error while dialing: dial tcp 192.0.2.1:1: connect: connection refused\"": false,
		"connection error: desc = \"error reading server preface: EOF\"":                                                 false,
		"this node does not lead": true,
	} {
		e := errorFrom(status.Error(codes.Unavailable, text), n1, false)
		if (e.Node == "n1") != answered || !answered && e.Node != "" {
			t.Errorf("%q: the node that answered is %q, answered = %t", text, e.Node, answered)
		}
	}
}

// TestErrorsSayAll: what a node says about a failure reaches the caller, whether a call failed or
// one batch of a stream.
func TestErrorsSayAll(t *testing.T) {
	resume := uint64(7)
	for name, tc := range map[string]struct {
		detail *cairnv1.ErrorDetail
		want   Error
	}{
		"definite":   {&cairnv1.ErrorDetail{Outcome: cairnv1.Outcome_OUTCOME_DEFINITE}, Error{Definite: true}},
		"indefinite": {&cairnv1.ErrorDetail{Outcome: cairnv1.Outcome_OUTCOME_INDEFINITE}, Error{}},
		"no outcome": {&cairnv1.ErrorDetail{}, Error{}},
		"wait":       {&cairnv1.ErrorDetail{RetryAfterMs: 250}, Error{RetryAfter: 250 * time.Millisecond}},
		"conflict": {
			&cairnv1.ErrorDetail{Cause: &cairnv1.ErrorDetail_KeyConflict{KeyConflict: &cairnv1.KeyConflict{
				Key: []byte("k"), Index: 5, StoredDigest: []byte("stored"), OfferedDigest: []byte("offered"),
			}}},
			Error{Conflict: &KeyConflict{Key: []byte("k"), Index: 5, StoredDigest: []byte("stored"), OfferedDigest: []byte("offered")}},
		},
		"size": {
			&cairnv1.ErrorDetail{Cause: &cairnv1.ErrorDetail_SizeMismatch{SizeMismatch: &cairnv1.SizeMismatch{Expected: 5, Actual: 6}}},
			Error{SizeMismatch: &SizeMismatch{Expected: 5, Actual: 6}},
		},
		"leader": {
			&cairnv1.ErrorDetail{Cause: &cairnv1.ErrorDetail_NotLeader{NotLeader: &cairnv1.LeaderHint{Name: "n2", Address: "192.0.2.2:1"}}},
			Error{Leader: &Endpoint{"n2", "192.0.2.2:1"}},
		},
		"no leader": {&cairnv1.ErrorDetail{Cause: &cairnv1.ErrorDetail_NotLeader{NotLeader: &cairnv1.LeaderHint{}}}, Error{}},
		"limit": {
			&cairnv1.ErrorDetail{Cause: &cairnv1.ErrorDetail_Limit{Limit: &cairnv1.Limit{What: "key bytes", Limit: 128, Got: 129, Position: 3}}},
			Error{Limit: &cairnv1.Limit{What: "key bytes", Limit: 128, Got: 129, Position: 3}},
		},
		"resume": {&cairnv1.ErrorDetail{Cause: &cairnv1.ErrorDetail_Resume{Resume: &cairnv1.Resume{Next: resume}}}, Error{resume: &resume}},
	} {
		want := tc.want
		want.Code, want.Reason, want.Message, want.Node = codes.FailedPrecondition, "REASON", "why", "n1"
		check := func(how string, got *Error) {
			t.Helper()
			if status.Code(got.Unwrap()) != want.Code {
				t.Errorf("%s, %s: the cause is %v", name, how, got.Unwrap())
			}
			if !proto.Equal(got.Limit, tc.want.Limit) {
				t.Errorf("%s, %s: limit %v, want %v", name, how, got.Limit, tc.want.Limit)
			}
			got.cause, got.Limit, want.Limit = nil, nil, nil
			if !reflect.DeepEqual(*got, want) {
				t.Errorf("%s, %s:\ngot  %+v\nwant %+v", name, how, *got, want)
			}
		}
		check("stream", errorFromStream(&cairnv1.StreamError{
			Code: int32(codes.FailedPrecondition), Reason: "REASON", Message: "why", Detail: tc.detail,
		}, "n1"))
		want.Metadata = map[string]string{"has": "reader"}
		st, err := status.New(codes.FailedPrecondition, "why").WithDetails(
			&errdetails.ErrorInfo{Reason: "REASON", Metadata: want.Metadata}, tc.detail)
		if err != nil {
			t.Fatal(err)
		}
		// Whether anything was sent does not matter when a node has answered.
		check("call", errorFrom(st.Err(), Endpoint{Name: "n1"}, true))
		check("call", errorFrom(st.Err(), Endpoint{Name: "n1"}, false))
	}
}

// TestProofsAreWholeHashes: a proof is some whole hashes, at most those that RFC 6962 can need.
// What is left over is not ignored.
func TestProofsAreWholeHashes(t *testing.T) {
	for size, ok := range map[int]bool{
		0: true, merkle.HashSize: true, 65 * merkle.HashSize: true,
		1: false, merkle.HashSize - 1: false, merkle.HashSize + 1: false, 66 * merkle.HashSize: false,
	} {
		got, err := hashes(make([]byte, size))
		if (err == nil) != ok || ok && len(got) != size/merkle.HashSize {
			t.Errorf("a proof of %d bytes: %d hashes, %v; want it accepted: %t", size, len(got), err, ok)
		}
	}
}
