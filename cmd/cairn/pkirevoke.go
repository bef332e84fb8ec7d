package main

import (
	"fmt"
	"math/big"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// listValidity is when a revocation list is to be replaced at the latest.
const listValidity = 90 * 24 * time.Hour

func (a *app) pkiRevokeCommand() *cobra.Command {
	var ca, list, serials string
	var validity time.Duration
	cmd := &cobra.Command{
		Use:   "revoke [CERTIFICATE]...",
		Short: "Revoke certificates: sign the authority's next revocation list",
		Long: `Sign the authority's next revocation list: what the list in the file of --list
names, and the certificates given. Without one the same list gets new dates.
Every node reads the file that keys.revoked of node.yaml names, at its start and
on SIGHUP, and closes the open connections of whoever is revoked. Copy the file
to all nodes: it is signed and no secret. For a node name its node.crt.`,
		Example: `  cairn pki revoke --ca ca --list ca/revoked.pem billing.crt
  cairn pki revoke --ca ca --list ca/revoked.pem --serial 753df555`,
		RunE: func(_ *cobra.Command, args []string) error {
			if list == "" {
				return usagef("--list FILE is required: the authority's former list is continued, or the first one is made there")
			}
			authority, err := loadAuthority(ca)
			if err != nil {
				return err
			}
			r := pki.RevocationRequest{Number: 1, Validity: validity}
			former, err := pki.ReadRevocations(list)
			switch {
			case errors.Is(err, os.ErrNotExist):
			case err != nil:
				return fail(exitRefused, "the former list must not be lost: its revocations would end", err)
			case len(former.Lists) != 1:
				return failf(exitRefused, "name a file with the list of this authority alone", "%s holds %d lists", printable(list), len(former.Lists))
			default:
				if err := former.Lists[0].IssuedBy(authority.Certificate()); err != nil {
					return fail(exitRefused, "name the file with this authority's list", errors.Wrap(err, list))
				}
				r.Number, r.Serials = former.Lists[0].Number+1, former.Lists[0].Serials
			}
			for _, file := range args {
				certs, err := pki.ReadCertificates(file)
				if errors.Is(err, os.ErrNotExist) {
					return err
				}
				if err != nil {
					return fail(exitUsage, "", err)
				}
				if !certs[0].IssuedBy(authority.Certificate()) {
					return failf(exitUsage, "an authority revokes what it issued itself", "%s is issued by %s, not by the authority in --ca", printable(file), certs[0].Issuer)
				}
				r.Serials = append(r.Serials, certs[0].SerialNumber)
			}
			for word := range strings.SplitSeq(serials, ",") {
				if serials == "" {
					break
				}
				n, ok := new(big.Int).SetString(strings.TrimSpace(word), 16)
				if !ok || n.Sign() <= 0 || n.BitLen() > 160 {
					return usagef("--serial: %q is not a serial number in hexadecimal", word)
				}
				r.Serials = append(r.Serials, n)
			}
			l, err := authority.IssueRevocationList(r)
			if err != nil {
				return fail(exitUsage, "", err)
			}
			out := pki.Revocations{Lists: []*pki.RevocationList{l}, Authorities: authority.Issuers()}
			if err := wholefile.WriteSync(list, out.MarshalPEM(), 0o644); err != nil {
				return errors.Wrap(err, "write revocation list")
			}
			a.did(effect{text: "revocation list " + strconv.FormatUint(l.Number, 10) + " is signed: " + printable(list)})
			return a.printRevocations(list, l)
		},
	}
	f := cmd.Flags()
	f.StringVar(&ca, "ca", ".", caUsage)
	f.StringVar(&list, "list", "", "`file` with the authority's list, which is replaced")
	f.StringVar(&serials, "serial", "", "`numbers` in hexadecimal, separated by commas, in place of certificate files")
	numberFlag(f, &validity, "validity", "", listValidity, time.Second, maxValidity, "validity of the list; afterwards it remains in force, and nodes warn")
	return cmd
}

func (a *app) printRevocations(file string, l *pki.RevocationList) error {
	v := struct {
		File       string   `json:"file"`
		Kind       string   `json:"kind"` // revocations
		Issuer     string   `json:"issuer"`
		Number     uint64   `json:"number"`
		ThisUpdate string   `json:"this_update"`
		NextUpdate string   `json:"next_update"`
		Serials    []string `json:"serials"`
	}{file, "revocations", l.Issuer, l.Number, l.ThisUpdate.UTC().Format(time.RFC3339), l.NextUpdate.UTC().Format(time.RFC3339), []string{}}
	for _, serial := range l.Serials {
		v.Serials = append(v.Serials, serial.Text(16))
	}
	return a.emit(v, func(w *page) {
		fmt.Fprintf(w, "revocation list %d of %s\n", l.Number, l.Issuer)
		fields(w, "  file", file, "  valid", v.ThisUpdate+" to "+v.NextUpdate, "  revoked", plural(len(v.Serials), "certificate", "certificates"))
		for _, serial := range v.Serials {
			fields(w, "  serial", serial)
		}
	})
}
