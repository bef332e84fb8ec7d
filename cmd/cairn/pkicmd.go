package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/cluster/enrolment"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

func (a *app) pkiCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pki",
		Short: "Make a certificate authority, issue certificates, look at them",
		Long: `Certificates are X.509 with ML-DSA keys (RFC 9881) and SPIFFE IDs; a node has a
second one with its ML-KEM key (RFC 9935). A machine makes its own keys, and a
request for their certificates (` + "`cairn node keys`, `cairn pki request`" + `); the
authority answers the request (` + "`cairn pki sign`" + `). ` + "`cairn cluster up`" + ` does all of
that for a local cluster.`,
		RunE: needsSubcommand,
	}
	cmd.AddCommand(a.pkiInitCommand(), a.pkiRequestCommand(), a.pkiSignCommand(), a.pkiRevokeCommand(), a.pkiIssueCommand(), a.pkiShowCommand(), a.pkiInspectCommand())
	return cmd
}

// checkSuite returns the LPA/1 suite of a flag.
func checkSuite(name string) (*lpa.Suite, error) {
	s, err := lpa.ParseSuite(name)
	if err != nil {
		return nil, usagef("--suite must be default or cat5, not %q", name)
	}
	return s, nil
}

func (a *app) pkiInitCommand() *cobra.Command {
	var dir, domain, name, suite string
	var validity time.Duration
	cmd := &cobra.Command{
		Use:     "init --trust-domain DOMAIN",
		Short:   "Make a root authority: root.crt and root.key",
		Example: "  cairn pki init --trust-domain ledger.example --dir ca",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if domain == "" {
				return usagef("--trust-domain is required")
			}
			algorithms, err := checkSuite(suite)
			if err != nil {
				return err
			}
			if err := pki.CheckTrustDomain(domain); err != nil {
				return fail(exitUsage, "", err)
			}
			if name == "" {
				name = domain + " root"
			}
			root, err := pki.NewRoot(name, domain, algorithms.Signature(), validity)
			if err != nil {
				return err
			}
			certFile, keyFile := filepath.Join(dir, "root.crt"), filepath.Join(dir, "root.key")
			files, err := openFileSet(dir, "root", "root.crt", "root.key")
			if err == nil {
				err = errors.CombineErrors(pqcrypto.WriteKeyFile(files.path("root.key"), root.Key()), files.write("root.crt", pki.MarshalPEM(root.Certificate())))
			}
			if err == nil {
				err = files.publish()
			}
			if errors.Is(err, os.ErrExist) {
				return fail(exitFailed, "an authority is never overwritten: choose another --dir", err)
			}
			if err != nil {
				return err
			}
			a.did(effect{text: "the authority is made: " + printable(certFile) + " and " + printable(keyFile)})
			a.note("Keep %s offline: whoever has it can be any node and any client.", keyFile)
			return a.printCertificates(certFile, []*pki.Certificate{root.Certificate()})
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", ".", "`directory` to write to")
	f.StringVar(&domain, "trust-domain", "", "SPIFFE trust `domain`")
	f.StringVar(&name, "name", "", "common `name` (default: the trust domain and \"root\")")
	f.StringVar(&suite, "suite", "default", "default (ML-DSA-65) or cat5 (ML-DSA-87)")
	numberFlag(f, &validity, "validity", "", 10*365*24*time.Hour, time.Second, maxValidity, "validity")
	return cmd
}

func (a *app) pkiIssueCommand() *cobra.Command {
	var dir, ca, service, roles, suite, renew string
	var validity time.Duration
	cmd := &cobra.Command{
		Use:   "issue (--service NAME --roles R,R | --renew OLD.crt)",
		Short: "Make a client's key and certificate where the authority is",
		Long: `Make a client's key, and issue its certificate, where the authority is. The
private key has to be carried to the client then: better let the client make it
(` + "`cairn pki request`" + `). A node always makes its own keys (` + "`cairn node keys`" + `).

A client is a reader (reads every entry), a writer (appends payloads, and
reads), a participant (moves and reads what it owns, where a ledger keeps
accounts, and reads no entries), an operator (keeps such a ledger's assets and
accounts, and reads) or an admin (all of that, and operates the cluster).

With --renew OLD.crt the new certificate has the name, the roles, the algorithms
and the validity of the old one; what --validity changes is printed.`,
		Example: `  cairn pki issue --ca ca --service billing --roles writer --dir billing
  cairn pki issue --ca ca --renew billing/billing.crt --dir renewed`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if renew != "" {
				for _, name := range []string{"service", "roles", "suite"} {
					if cmd.Flags().Changed(name) {
						return usagef("--renew takes everything from the old certificate but --validity: --%s does not go with it", name)
					}
				}
			} else if service == "" {
				return usagef("pass either --service NAME or --renew OLD.crt")
			}
			authority, err := loadAuthority(ca)
			if err != nil {
				return err
			}
			domain := authority.Certificate().TrustDomain
			var old *pki.Certificate
			var role pki.Role
			if renew != "" {
				if old, err = readIdentity(renew); err != nil {
					return err
				}
				if !cmd.Flags().Changed("validity") {
					validity = old.Validity()
				}
				suite, role, service = suiteOf(old), old.Roles, path.Base(old.ID.Path())
				if old.TrustDomain != domain {
					return usagef("%s is of the trust domain %s, the authority in --ca of %s", printable(renew), old.TrustDomain, domain)
				}
				if old.ID != pki.ServiceID(domain, service) {
					return usagef("%s is of %s, which is no client that this command issues to", printable(renew), old.ID)
				}
			} else if role, err = clientRoles(roles); err != nil {
				return err
			}
			if _, err := checkSuite(suite); err != nil {
				return err
			}
			made, err := enrolment.Make(enrolment.Wanted{Kind: enrolment.Client, Name: service, Suite: suite})
			if err != nil {
				return fail(exitUsage, "", err)
			}
			request, err := enrolment.Parse(made.Request)
			if err != nil {
				return err
			}
			answer, err := enrolment.Sign(authority, request, enrolment.Grant{Roles: role, Validity: validity})
			if err != nil {
				return err
			}
			crt, key := service+".crt", service+".key"
			files, err := openFileSet(dir, service, crt, key)
			if err != nil {
				return taken(err)
			}
			err = pqcrypto.WriteKeyFile(files.path(key), made.Keys[0].Key)
			if err == nil {
				err = files.write(crt, answer.Files[0].Data)
			}
			if err != nil {
				return errors.CombineErrors(err, files.clear())
			}
			if err := files.publish(); err != nil {
				return taken(err)
			}
			a.did(effect{text: "certificate and key are issued: " + printable(filepath.Join(dir, crt)) + " and " + printable(filepath.Join(dir, key))})
			if err := a.printCertificates(filepath.Join(dir, crt), answer.Certificates); err != nil {
				return err
			}
			if now := answer.Certificates[0]; old != nil && old.Validity() != now.Validity() {
				a.note("The old certificate was valid for %s, the new one is for %s.", validityString(old.Validity()), validityString(now.Validity()))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&ca, "ca", ".", caUsage)
	f.StringVar(&dir, "dir", ".", "`directory` to write NAME.crt and NAME.key to")
	f.StringVar(&service, "service", "", "`name` of a client")
	f.StringVar(&roles, "roles", "", "`roles` of the client: reader, writer, admin, participant, operator; separated by commas")
	f.StringVar(&suite, "suite", "default", "default (ML-DSA-65) or cat5 (ML-DSA-87)")
	f.StringVar(&renew, "renew", "", "take name, roles, algorithms and validity from this old certificate `file`")
	numberFlag(f, &validity, "validity", "", local.LeafValidity, time.Second, maxValidity, "validity")
	return cmd
}

// clientRoles reads --roles.
func clientRoles(roles string) (pki.Role, error) {
	if roles == "" {
		return 0, usagef("--roles is required for a client: reader, writer, admin, participant, operator")
	}
	role, err := pki.ParseRoles(roles)
	if err != nil {
		return 0, fail(exitUsage, "", err)
	}
	if role.Has(pki.RolePeer) {
		return 0, usagef("--roles: a client has no role peer; a node gets it through `cairn node keys`")
	}
	return role, nil
}

// caUsage describes --ca, which loadAuthority reads.
const caUsage = "the authority: a `directory` with root.crt and root.key, or PATH for PATH.crt and PATH.key"

// loadAuthority reads the authority that --ca names: a directory of `cairn pki init`, or the files
// of an issuing authority without their endings.
func loadAuthority(ca string) (*pki.Authority, error) {
	name := ca
	if info, err := os.Stat(ca); err == nil && info.IsDir() {
		name = filepath.Join(ca, "root")
	}
	authority, err := pki.LoadAuthority(name+".crt", name+".key")
	if err != nil {
		return nil, fail(exitUsage, "--ca names the directory that `cairn pki init` made, or an issuing authority: PATH for PATH.crt and PATH.key", err)
	}
	return authority, nil
}

// taken explains that a file is in the way.
func taken(err error) error {
	if errors.Is(err, os.ErrExist) {
		return fail(exitFailed, "a key or certificate is never overwritten: choose another --dir, then put the files in place of the old ones", err)
	}
	return err
}

// readIdentity reads the identity certificate that a file begins with.
func readIdentity(file string) (*pki.Certificate, error) {
	certs, err := pki.ReadCertificates(file)
	if err != nil {
		return nil, fail(exitUsage, "--renew names a certificate, as `cairn pki issue` writes it", err)
	}
	if c := certs[0]; !c.IsCA && !c.IsKEM {
		if c.Roles.Has(pki.RolePeer) {
			return nil, failf(exitUsage, "on its machine: cairn node keys --config node.yaml --dir DIR", "%s is of a node, which makes its own keys", printable(file))
		}
		return c, nil
	}
	return nil, failf(exitUsage, "name a client's certificate", "%s holds no identity", printable(file))
}

// suiteOf names the suite that a certificate's key belongs to.
func suiteOf(c *pki.Certificate) string {
	if k := c.VerifyingKey(); k != nil && k.Params() == pqcrypto.MLDSA87 {
		return "cat5"
	}
	return "default"
}

// validityString writes how long a certificate is valid, in days where they are whole.
func validityString(d time.Duration) string {
	if days := d / (24 * time.Hour); days > 0 && d%(24*time.Hour) == 0 {
		return plural(int(days), "day", "days")
	}
	return d.String()
}

func (a *app) pkiShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Print the certificates of the profile",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			p, err := a.profile()
			if err != nil {
				return err
			}
			for _, file := range []string{p.Certificate, p.Roots} {
				certs, err := pki.ReadCertificates(file)
				if err != nil {
					return fail(exitUsage, "", err)
				}
				if err := a.printCertificates(file, certs); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (a *app) pkiInspectCommand() *cobra.Command {
	var roots, revoked string
	cmd := &cobra.Command{
		Use:   "inspect FILE...",
		Short: "Print certificates or requests; with --roots validate paths",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var pool *pki.Pool
			if roots != "" {
				var err error
				if pool, err = pki.LoadPool(roots); err != nil {
					return fail(exitUsage, "", err)
				}
				if revoked != "" {
					r, err := pki.ReadRevocations(revoked)
					if err == nil {
						pool, err = pool.WithRevocations(r)
					}
					if err != nil {
						return fail(exitUsage, "", err)
					}
				}
			} else if revoked != "" {
				return usagef("--revoked needs --roots")
			}
			for _, file := range args {
				if r, err := enrolment.ReadFile(file); err == nil {
					if err := a.printRequest(file, r); err != nil {
						return err
					}
					continue
				}
				if r, err := pki.ReadRevocations(file); err == nil {
					for _, l := range r.Lists {
						if err := a.printRevocations(file, l); err != nil {
							return err
						}
					}
					if pool != nil {
						if _, err := pool.WithRevocations(r); err != nil {
							return fail(exitRefused, "have the authority sign the list again, or check that --roots is the right file", errors.Wrapf(err, "refused %s", file))
						}
					}
					continue
				}
				certs, err := pki.ReadCertificates(file)
				if errors.Is(err, os.ErrNotExist) {
					return err
				}
				if err != nil {
					return fail(exitRefused, "", err)
				}
				if err := a.printCertificates(file, certs); err != nil {
					return err
				}
				if pool != nil {
					if err := validate(pool, certs); err != nil {
						return fail(exitRefused, "issue a new certificate, or check that --roots is the right file", errors.Wrapf(err, "refused %s", file))
					}
					a.note("%s: valid under %s", file, roots)
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&roots, "roots", "", "`file` with trusted roots: also validate the path")
	cmd.Flags().StringVar(&revoked, "revoked", "", "`file` with revocation lists that the path must pass")
	return cmd
}

func validate(pool *pki.Pool, certs []*pki.Certificate) error {
	var chain [][]byte
	for _, c := range certs {
		chain = append(chain, c.Raw)
	}
	if certs[0].IsKEM {
		_, err := pool.VerifyKEM(chain, nil, time.Now())
		return err
	}
	_, err := pool.VerifyIdentity(chain, time.Now())
	return err
}

type certificateInfo struct {
	File        string `json:"file"`
	Kind        string `json:"kind"` // authority, identity, kem
	ID          string `json:"id,omitempty"`
	TrustDomain string `json:"trust_domain"`
	Roles       string `json:"roles,omitempty"`
	Key         string `json:"key"`
	SignedWith  string `json:"signed_with"`
	NotBefore   string `json:"not_before"`
	NotAfter    string `json:"not_after"`
	ValidFor    string `json:"valid_for"`
	Expired     bool   `json:"expired"`
	Serial      string `json:"serial"`
	Subject     string `json:"subject,omitempty"`
	Issuer      string `json:"issuer,omitempty"`
	Fingerprint string `json:"fingerprint"`
}

func newCertificateInfo(file string, c *pki.Certificate) certificateInfo {
	i := certificateInfo{
		File: file, Kind: "identity", ID: string(c.ID), TrustDomain: c.TrustDomain, Roles: c.Roles.String(),
		SignedWith: c.SignedWith.String(), NotBefore: c.NotBefore.UTC().Format(time.RFC3339), NotAfter: c.NotAfter.UTC().Format(time.RFC3339), ValidFor: validityString(c.Validity()),
		Expired: time.Now().After(c.NotAfter), Serial: c.SerialNumber.Text(16), Subject: c.Subject, Issuer: c.Issuer,
	}
	fp := c.Fingerprint()
	i.Fingerprint = hex.EncodeToString(fp[:])
	switch {
	case c.IsCA:
		i.Kind = "authority"
	case c.IsKEM:
		i.Kind = "kem"
	}
	if k := c.EncapsulationKey(); k != nil {
		i.Key = k.Params().String()
	} else if k := c.VerifyingKey(); k != nil {
		i.Key = k.Params().String()
	}
	return i
}

func (a *app) printCertificates(file string, certs []*pki.Certificate) error {
	for _, c := range certs {
		i := newCertificateInfo(file, c)
		err := a.emit(i, func(w *page) {
			name := i.ID
			if name == "" {
				name = "spiffe://" + i.TrustDomain
			}
			until := i.NotAfter + ", for " + i.ValidFor
			if i.Expired {
				until += "  " + bad("EXPIRED")
			}
			fmt.Fprintf(w, "%s  %s\n", i.Kind, name)
			pairs := []string{"  file", i.File}
			if i.Roles != "" {
				pairs = append(pairs, "  roles", strings.ReplaceAll(i.Roles, ",", ", "))
			}
			fields(w, append(pairs, "  key", i.Key, "  signed with", i.SignedWith+" by "+i.Issuer,
				"  valid", i.NotBefore+" to "+until, "  serial", i.Serial, "  sha256", i.Fingerprint)...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
