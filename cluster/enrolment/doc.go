// Package enrolment brings keys that a machine made for itself under the authority of a cluster.
//
//	machine                              authority
//	Make: private keys, and a request
//	                 -- request -->      Parse, then Sign, or founding.Found for all nodes of a new cluster
//	                 <-- answer ---
//
// A request is a text file with public keys alone. An answer holds certificates and other files
// that are no secret. No private key leaves the directory that it was made in, with one exception:
// the log key, which all nodes of a cluster share. Package founding makes it in memory and seals it to
// every node's sealing key (package pqcrypto/seal); a node of the cluster seals it to a new one's.
//
// What a request proves: whoever made it holds the private keys of the certified key and of the
// cosigner key, which sign the request. The certified key vouches for the KEM and the sealing key,
// as in RFC 9883. It does not prove who made it: the authority's operator compares the request's
// fingerprint with the one that the machine showed.
//
// The smallest use:
//
//	made, err := enrolment.Make(enrolment.Wanted{
//		Kind: enrolment.Node, Name: "n1", Cluster: id, Suite: "default",
//	})
//	request, err := enrolment.Parse(made.Request)
//	answer, err := enrolment.Sign(authority, request, enrolment.Grant{Validity: 720 * time.Hour})
package enrolment
