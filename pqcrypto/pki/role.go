package pki

import (
	"encoding/asn1"
	"strings"

	"github.com/cockroachdb/errors"
)

// Role is a set of what an identity may do. In a certificate each role is a private extended key
// usage.
type Role uint8

// The roles. Some imply others; see [Role.Has].
const (
	RolePeer        Role = 1 << iota // takes part in Raft and sealing
	RoleWriter                       // appends payloads; implies reader
	RoleReader                       // reads entries, proofs, checkpoints
	RoleAdmin                        // operates the cluster; implies writer and operator
	RoleParticipant                  // moves and reads what it owns, where a program keeps accounts
	RoleOperator                     // keeps a program's assets and accounts; implies participant and reader

	allRoles = RolePeer | RoleWriter | RoleReader | RoleAdmin | RoleParticipant | RoleOperator
)

// roleNames is in bit order.
var roleNames = []struct {
	role Role
	name string
}{
	{RolePeer, "peer"}, {RoleWriter, "writer"}, {RoleReader, "reader"}, {RoleAdmin, "admin"},
	{RoleParticipant, "participant"}, {RoleOperator, "operator"},
}

// implied returns r with what its roles imply.
func (r Role) implied() Role {
	if r&RoleAdmin != 0 {
		r |= RoleWriter | RoleOperator
	}
	if r&RoleOperator != 0 {
		r |= RoleParticipant | RoleReader
	}
	if r&RoleWriter != 0 {
		r |= RoleReader
	}
	return r
}

// Has reports whether r includes all roles of want, given or implied.
func (r Role) Has(want Role) bool { return r.implied()&want == want }

// HasAny reports whether r includes at least one role of want, given or implied.
func (r Role) HasAny(want Role) bool { return r.implied()&want != 0 }

// String lists the roles as given, such as "writer,reader"; the empty set is "".
func (r Role) String() string {
	var names []string
	for _, n := range roleNames {
		if r&n.role != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ",")
}

// ParseRoles reads a list as [Role.String] writes it: at least one role, separated by commas.
func ParseRoles(s string) (Role, error) {
	var r Role
next:
	for name := range strings.SplitSeq(s, ",") {
		for _, n := range roleNames {
			if strings.TrimSpace(name) == n.name {
				r |= n.role
				continue next
			}
		}
		return 0, errors.Newf("unknown role %q, want a list of %s", name, strings.ReplaceAll(allRoles.String(), ",", ", "))
	}
	return r, nil
}

// Object identifiers of our own. The arc encodes the UUID 6cb2752a-2212-44b7-ab56-66656b2da61d in
// the way that oid-base.com documents for 1.2.840.113556.1.8000.2554: unique without a
// registration, and with components below 2^31. Under 2.25 a UUID is one component of 128 bits, and
// crypto/x509 refuses a certificate that has such an extended key usage.
var arc = asn1.ObjectIdentifier{1, 2, 840, 113556, 1, 8000, 2554, 27826, 29994, 8722, 17591, 43862, 6710635, 2991645}

func arcOID(n int) asn1.ObjectIdentifier {
	return append(append(asn1.ObjectIdentifier(nil), arc...), 1, n)
}

var (
	oidRolePeer        = arcOID(1)
	oidRoleWriter      = arcOID(2)
	oidRoleReader      = arcOID(3)
	oidRoleAdmin       = arcOID(4)
	oidKEMAuth         = arcOID(5) // marks a KEM certificate: its owner proves itself by decapsulating
	oidRoleParticipant = arcOID(6)
	oidRoleOperator    = arcOID(7)
)

var roleOIDs = map[Role]asn1.ObjectIdentifier{
	RolePeer: oidRolePeer, RoleWriter: oidRoleWriter, RoleReader: oidRoleReader, RoleAdmin: oidRoleAdmin,
	RoleParticipant: oidRoleParticipant, RoleOperator: oidRoleOperator,
}

// OID returns the extended key usage of a single role, for the documentation; nil for a set.
func (r Role) OID() asn1.ObjectIdentifier {
	return append(asn1.ObjectIdentifier(nil), roleOIDs[r]...)
}
