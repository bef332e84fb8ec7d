package pki

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors"
)

// ID is a SPIFFE ID with a path, such as "spiffe://ledger.example/svc/billing". It names a
// principal.
type ID string

const (
	idScheme = "spiffe://"
	// Limits of the SPIFFE ID specification, section 2.
	maxIDLength          = 2048
	maxTrustDomainLength = 255
)

// ParseID checks a SPIFFE ID strictly: lower-case scheme and trust domain, a path of non-empty
// segments of [a-zA-Z0-9._-] without "." and "..", and no user, port, query, fragment or escape.
func ParseID(s string) (ID, error) {
	td, path, err := splitID(s)
	if err != nil {
		return "", err
	}
	if path == "" {
		return "", errors.Newf("SPIFFE ID of trust domain %q has no path", td)
	}
	return ID(s), nil
}

// parseTrustDomainID checks the ID of an authority: a trust domain without a path.
func parseTrustDomainID(s string) (td string, err error) {
	td, path, err := splitID(s)
	if err != nil {
		return "", err
	}
	if path != "" {
		return "", errors.Newf("authority's SPIFFE ID %q has a path", s)
	}
	return td, nil
}

func splitID(s string) (td, path string, err error) {
	if len(s) > maxIDLength {
		return "", "", errors.Newf("SPIFFE ID has %d bytes, at most %d are allowed", len(s), maxIDLength)
	}
	rest, ok := strings.CutPrefix(s, idScheme)
	if !ok {
		return "", "", errors.Newf("SPIFFE ID %q does not start with %q", s, idScheme)
	}
	td = rest
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		td, path = rest[:i], rest[i:]
	}
	if err := CheckTrustDomain(td); err != nil {
		return "", "", err
	}
	if path == "" {
		return td, "", nil
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if err := checkSegment(segment); err != nil {
			return "", "", errors.Wrapf(err, "SPIFFE ID %q", s)
		}
	}
	return td, path, nil
}

// CheckTrustDomain refuses what is not a SPIFFE trust domain: 1 to 255 of [a-z0-9._-].
func CheckTrustDomain(td string) error {
	if td == "" || len(td) > maxTrustDomainLength {
		return errors.Newf("trust domain has %d bytes, want 1 to %d", len(td), maxTrustDomainLength)
	}
	for _, c := range []byte(td) {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return errors.Newf("trust domain %q has %q, only a-z, 0-9 and ._- are allowed", td, c)
		}
	}
	return nil
}

func checkSegment(segment string) error {
	switch segment {
	case "":
		return errors.New("path has an empty segment")
	case ".", "..":
		return errors.Newf("path has the segment %q", segment)
	}
	for _, c := range []byte(segment) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return errors.Newf("path has %q, only a-z, A-Z, 0-9 and ._- are allowed", c)
		}
	}
	return nil
}

// ClusterID distinguishes the clusters of one trust domain. Zero is no cluster.
type ClusterID uint64

// ParseClusterID reads 16 hexadecimal digits that are not all zero.
func ParseClusterID(s string) (ClusterID, error) {
	id, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != 16 || id == 0 {
		return 0, errors.Newf("%q is not a cluster ID: want 16 hexadecimal digits, not all zero", s)
	}
	return ClusterID(id), nil
}

// String returns the 16 lower-case hexadecimal digits that ParseClusterID reads.
func (c ClusterID) String() string { return fmt.Sprintf("%016x", uint64(c)) }

// NodeID returns the ID of a node, spiffe://TD/cluster/CLUSTER/node/NAME. Two clusters of one trust
// domain may have nodes of the same name: their IDs differ. NodeID does not check its arguments.
// ParseID and the functions that issue and validate certificates check the result.
func NodeID(td string, cluster ClusterID, name string) ID {
	return ID(idScheme + td + "/cluster/" + cluster.String() + "/node/" + name)
}

// IsNode reports whether the ID has the form that NodeID gives, in any trust domain and cluster.
func (id ID) IsNode() bool {
	rest, ok := strings.CutPrefix(id.Path(), "/cluster/")
	if !ok || !strings.HasPrefix(string(id), idScheme) {
		return false
	}
	cluster, name, _ := strings.Cut(rest, "/node/")
	c, err := ParseClusterID(cluster)
	return err == nil && c.String() == cluster && checkSegment(name) == nil
}

// ServiceID returns the ID of a client, spiffe://TD/svc/NAME. ServiceID does not check its
// arguments. ParseID and the functions that issue and validate certificates check the result.
func ServiceID(td, name string) ID { return ID(idScheme + td + "/svc/" + name) }

// TrustDomain returns the part between the scheme and the path.
func (id ID) TrustDomain() string {
	td, _, _ := strings.Cut(strings.TrimPrefix(string(id), idScheme), "/")
	return td
}

// Path returns the part behind the trust domain, with its leading slash.
func (id ID) Path() string {
	rest := strings.TrimPrefix(string(id), idScheme)
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return rest[i:]
	}
	return ""
}
