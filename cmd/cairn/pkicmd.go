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

	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

func (a *app) pkiCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pki",
		Short: "Make a certificate authority, issue certificates, look at them",
		Long: `Certificates are X.509 with ML-DSA keys (RFC 9881) and SPIFFE IDs; a node has a
second one with its ML-KEM key (RFC 9935). ` + "`cairn cluster up`" + ` makes all that a
local cluster needs; these commands issue to further clients, and renew. The
keys that sign checkpoints are not certified: docs/operations.md says how to
move them.`,
		RunE: needsSubcommand,
	}
	cmd.AddCommand(a.pkiInitCommand(), a.pkiIssueCommand(), a.pkiShowCommand(), a.pkiInspectCommand())
	return cmd
}

// suiteParams are the algorithms of an LPA/1 suite.
func suiteParams(suite string) (pqcrypto.SigParams, pqcrypto.KEMParams, error) {
	switch suite {
	case "default":
		return pqcrypto.MLDSA65, pqcrypto.MLKEM768, nil
	case "cat5":
		return pqcrypto.MLDSA87, pqcrypto.MLKEM1024, nil
	default:
		return 0, 0, usagef("--suite must be default or cat5, not %q", suite)
	}
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
			sig, _, err := suiteParams(suite)
			if err != nil {
				return err
			}
			if err := pki.CheckTrustDomain(domain); err != nil {
				return fail(exitUsage, "", err)
			}
			if name == "" {
				name = domain + " root"
			}
			root, err := pki.NewRoot(name, domain, sig, validity)
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
	var dir, ca, nodeName, cluster, service, roles, suite, renew string
	var validity time.Duration
	cmd := &cobra.Command{
		Use:   "issue (--node NAME --cluster ID | --service NAME --roles R,R | --renew OLD.crt)",
		Short: "Make a key and issue its certificate; for a node two of each",
		Long: `Make a key and issue its certificate; a node gets a second pair, for ML-KEM.

A client is a reader (reads every entry), a writer (appends payloads, and
reads), a participant (moves and reads what it owns, where a ledger keeps
accounts, and reads no entries), an operator (keeps such a ledger's assets and
accounts, and reads) or an admin (all of that, and operates the cluster).

With --renew OLD.crt the new certificate has the name, the roles, the algorithms
and the validity of the old one; what --validity changes is printed.`,
		Example: `  cairn pki issue --ca ca --node n1 --cluster 9f2c11d05e7ab364 --dir n1
  cairn pki issue --ca ca --service billing --roles writer --dir billing
  cairn pki issue --ca ca --renew n1/node.crt --dir renewed`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if renew != "" {
				for _, name := range []string{"node", "cluster", "service", "roles", "suite"} {
					if cmd.Flags().Changed(name) {
						return usagef("--renew takes everything from the old certificate but --validity: --%s does not go with it", name)
					}
				}
			} else if (nodeName == "") == (service == "") {
				return usagef("pass either --node NAME, --service NAME or --renew OLD.crt")
			}
			var old *pki.Certificate
			if renew != "" {
				var err error
				if old, err = readIdentity(renew); err != nil {
					return err
				}
				if !cmd.Flags().Changed("validity") {
					validity = old.Validity()
				}
				suite = suiteOf(old)
			}
			sig, kem, err := suiteParams(suite)
			if err != nil {
				return err
			}
			authority, err := pki.LoadAuthority(filepath.Join(ca, "root.crt"), filepath.Join(ca, "root.key"))
			if err != nil {
				return fail(exitUsage, "--ca names the directory that `cairn pki init` made", err)
			}
			domain := authority.Certificate().TrustDomain
			var name string
			var role pki.Role
			var id pki.ID
			if old != nil {
				if old.TrustDomain != domain {
					return usagef("%s is of the trust domain %s, the authority in --ca of %s", printable(renew), old.TrustDomain, domain)
				}
				id, role = old.ID, old.Roles
				name = path.Base(id.Path())
			} else if service != "" {
				if cluster != "" {
					return usagef("--cluster is for --node: a client belongs to no cluster")
				}
				if roles == "" {
					return usagef("--roles is required with --service: reader, writer, admin, participant, operator")
				}
				if role, err = pki.ParseRoles(roles); err != nil {
					return fail(exitUsage, "", err)
				}
				name, id = service, pki.ServiceID(domain, service)
			} else {
				if roles != "" {
					return usagef("--roles is for --service: a node has the role peer")
				}
				c, err := pki.ParseClusterID(cluster)
				if err != nil {
					return fail(exitUsage, "--cluster is the cluster_id of the node's configuration", errors.Wrap(err, "--cluster"))
				}
				name, role, id = nodeName, pki.RolePeer, pki.NodeID(domain, c, nodeName)
			}
			if _, err := pki.ParseID(string(id)); err != nil {
				return fail(exitUsage, "", err)
			}
			i := issuance{authority: authority, dir: dir, name: name, validity: validity}
			certs, err := i.issue(id, role, sig, kem, role.Has(pki.RolePeer))
			if errors.Is(err, os.ErrExist) {
				return fail(exitFailed, "a key or certificate is never overwritten: issue into another --dir, then put the files in place of the old ones", err)
			}
			if err != nil {
				return err
			}
			a.did(effect{text: "certificate and key are issued: " + printable(i.file(".crt")) + " and " + printable(i.file(".key"))})
			for n, file := range []string{i.file(".crt"), i.file(".kem.crt")}[:len(certs)] {
				if err := a.printCertificates(file, certs[n:n+1]); err != nil {
					return err
				}
			}
			if old != nil && old.Validity() != certs[0].Validity() {
				a.note("The old certificate was valid for %s, the new ones are for %s.", validityString(old.Validity()), validityString(certs[0].Validity()))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&ca, "ca", ".", "`directory` with root.crt and root.key")
	f.StringVar(&dir, "dir", ".", "`directory` to write NAME.crt, NAME.key (and NAME.kem.crt, NAME.kem.key) to")
	f.StringVar(&nodeName, "node", "", "`name` of a node")
	f.StringVar(&cluster, "cluster", "", "`id` of the node's cluster, the cluster_id of its configuration")
	f.StringVar(&service, "service", "", "`name` of a client")
	f.StringVar(&roles, "roles", "", "`roles` of the client: reader, writer, admin, participant, operator; separated by commas")
	f.StringVar(&suite, "suite", "default", "default (ML-DSA-65, ML-KEM-768) or cat5 (ML-DSA-87, ML-KEM-1024)")
	f.StringVar(&renew, "renew", "", "take name, roles, algorithms and validity from this old certificate `file`")
	numberFlag(f, &validity, "validity", "", local.LeafValidity, time.Second, maxValidity, "validity")
	return cmd
}

// readIdentity reads the identity certificate that a file begins with.
func readIdentity(file string) (*pki.Certificate, error) {
	certs, err := pki.ReadCertificates(file)
	if err != nil {
		return nil, fail(exitUsage, "--renew names a certificate, as `cairn pki issue` writes it", err)
	}
	if c := certs[0]; !c.IsCA && !c.IsKEM {
		return c, nil
	}
	return nil, failf(exitUsage, "for a node name its node.crt, not its kem.crt: both pairs are renewed", "%s holds no identity", printable(file))
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

// issuance makes what one identity needs, as files next to one another.
type issuance struct {
	authority *pki.Authority
	dir, name string
	validity  time.Duration
}

func (i issuance) file(ext string) string { return filepath.Join(i.dir, i.name+ext) }

func (i issuance) issue(id pki.ID, roles pki.Role, sig pqcrypto.SigParams, kem pqcrypto.KEMParams, server bool) ([]*pki.Certificate, error) {
	names := []string{i.name + ".crt", i.name + ".key"}
	if server {
		names = append(names, i.name+".kem.crt", i.name+".kem.key")
	}
	files, err := openFileSet(i.dir, i.name, names...)
	if err != nil {
		return nil, err
	}
	certs, err := i.stage(files, id, roles, sig, kem, server)
	if err != nil {
		return nil, errors.CombineErrors(err, files.clear())
	}
	return certs, files.publish()
}

// stage makes the files, not yet under their names.
func (i issuance) stage(files *fileSet, id pki.ID, roles pki.Role, sig pqcrypto.SigParams, kem pqcrypto.KEMParams, server bool) ([]*pki.Certificate, error) {
	key, err := pqcrypto.GenerateSigningKey(sig)
	if err != nil {
		return nil, err
	}
	svid, err := i.authority.IssueIdentity(pki.IssueRequest{ID: id, Roles: roles, PublicKey: key.Public(), Validity: i.validity})
	if err != nil {
		return nil, err
	}
	if err := pqcrypto.WriteKeyFile(files.path(i.name+".key"), key); err != nil {
		return nil, err
	}
	if err := files.write(i.name+".crt", i.chain(svid)); err != nil || !server {
		return []*pki.Certificate{svid}, err
	}
	kemKey, err := pqcrypto.GenerateDecapsulationKey(kem)
	if err != nil {
		return nil, err
	}
	kemCert, err := i.authority.IssueKEM(pki.KEMRequest{SVID: svid, PublicKey: kemKey.Public(), Validity: i.validity})
	if err != nil {
		return nil, err
	}
	if err := pqcrypto.WriteKeyFile(files.path(i.name+".kem.key"), kemKey); err != nil {
		return nil, err
	}
	return []*pki.Certificate{svid, kemCert}, files.write(i.name+".kem.crt", i.chain(kemCert))
}

// chain is a certificate with those of its issuers.
func (i issuance) chain(leaf *pki.Certificate) []byte {
	return pki.MarshalPEM(append([]*pki.Certificate{leaf}, i.authority.Issuers()...)...)
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
	var roots string
	cmd := &cobra.Command{
		Use:   "inspect FILE...",
		Short: "Print certificates, and with --roots validate their path",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var pool *pki.Pool
			if roots != "" {
				var err error
				if pool, err = pki.LoadPool(roots); err != nil {
					return fail(exitUsage, "", err)
				}
			}
			for _, file := range args {
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
