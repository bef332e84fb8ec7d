package main

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/cluster/enrolment"
	"github.com/cairnledger/cairn/cluster/founding"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

func (a *app) nodeKeysCommand() *cobra.Command {
	var config, dir, cluster string
	var rotate bool
	w := enrolment.Wanted{Kind: enrolment.Node}
	cmd := &cobra.Command{
		Use:   "keys (--name NAME --peer ADDR --api ADDR --http ADDR [--cluster ID] | --config FILE)",
		Short: "Make a node's own keys, and a request for their certificates",
		Long: `Make the keys of a node on its own machine, and NAME.request, which the
authority answers with certificates (` + "`cairn pki sign`" + `). Private keys have
mode 0600 and stay; the request holds public keys only. Compare its fingerprint
with the one that ` + "`cairn pki inspect`" + ` prints where the authority is.

Without --config the keys are those of a new node, with its addresses as others
reach them: of a new cluster, or with --cluster of one that exists, which an
admin then has it join (` + "`cairn member add`" + `). With --config FILE the node exists:
it gets a new node.key and kem.key, and keeps its cosigner and sealing keys.

With --config FILE --rotate it makes the node's next cosigner key alone,
cosigner-next.key, and prints its public half: see cairn policy rotate.`,
		Example: `  cairn node keys --name n1 --peer m1:7001 --api m1:7000 --http m1:7002 --dir n1
  cairn node keys --cluster 9f2c11d05e7ab364 --name n4 --dir n4 \
    --peer m4:7001 --api m4:7000 --http m4:7002
  cairn node keys --config n1/node.yaml --dir renewed`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if config != "" {
				for _, name := range []string{"name", "peer", "api", "http", "suite", "cluster"} {
					if cmd.Flags().Changed(name) {
						return usagef("--config says everything about the node: --%s does not go with it", name)
					}
				}
				c, err := node.LoadConfig(config)
				if err != nil {
					return fail(exitUsage, "docs/operations.md explains every key", err)
				}
				if rotate {
					return a.makeNextCosigner(&c, dir)
				}
				if w.Cluster, err = c.Cluster(); err != nil {
					return fail(exitUsage, "", err)
				}
				w.Name, w.Suite = c.Name, c.Suite
			} else if rotate {
				return usagef("--rotate is for a node that exists: --config FILE")
			} else if w.Name == "" || w.Peer == "" || w.API == "" || w.HTTP == "" {
				return usagef("a new node needs --name, --peer, --api and --http; one that exists --config FILE")
			} else if cluster != "" {
				var err error
				if w.Cluster, err = pki.ParseClusterID(cluster); err != nil {
					return fail(exitUsage, "every node.yaml and every profile has it as cluster_id", errors.Wrap(err, "--cluster"))
				}
			}
			return a.makeKeys(dir, w)
		},
	}
	f := cmd.Flags()
	f.StringVar(&config, "config", "", "configuration `file` of a node that exists")
	f.BoolVar(&rotate, "rotate", false, "with --config: make the node's next cosigner key, and nothing else")
	f.StringVar(&dir, "dir", ".", "`directory` to write keys and request to")
	f.StringVar(&cluster, "cluster", "", "`id` of the cluster that the node joins")
	f.StringVar(&w.Name, "name", "", "`name` of the node: lower-case letters, digits, dashes")
	f.StringVar(&w.Peer, "peer", "", "`address` for the other members, host:port")
	f.StringVar(&w.API, "api", "", "`address` for clients, host:port")
	f.StringVar(&w.HTTP, "http", "", "`address` for readers, health and metrics, host:port")
	f.StringVar(&w.Suite, "suite", "default", "default (ML-DSA-65, ML-KEM-768) or cat5 (ML-DSA-87, ML-KEM-1024)")
	return cmd
}

func (a *app) pkiRequestCommand() *cobra.Command {
	var dir, service, authority, suite string
	cmd := &cobra.Command{
		Use:   "request (--service NAME | --authority NAME)",
		Short: "Make a key of one's own, and a request for its certificate",
		Long: `Make the key of a client or of an issuing authority where it is used, and
NAME.request, which the authority answers with a certificate (` + "`cairn pki sign`" + `).
NAME.key has mode 0600 and stays. A node's keys are made by ` + "`cairn node keys`" + `.`,
		Example: `  cairn pki request --service billing --dir billing
  cairn pki request --authority issuing --dir issuing`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			w := enrolment.Wanted{Kind: enrolment.Client, Name: service, Suite: suite}
			if (service == "") == (authority == "") {
				return usagef("pass either --service NAME or --authority NAME")
			}
			if authority != "" {
				w.Kind, w.Name = enrolment.Authority, authority
			}
			return a.makeKeys(dir, w)
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", ".", "`directory` to write NAME.key and NAME.request to")
	f.StringVar(&service, "service", "", "`name` of a client")
	f.StringVar(&authority, "authority", "", "`name` of an issuing authority below the root")
	f.StringVar(&suite, "suite", "default", "default (ML-DSA-65) or cat5 (ML-DSA-87)")
	return cmd
}

// makeKeys writes private keys, and the request for their certificates.
func (a *app) makeKeys(dir string, w enrolment.Wanted) error {
	if _, err := checkSuite(w.Suite); err != nil {
		return err
	}
	made, err := enrolment.Make(w)
	if err != nil {
		return fail(exitUsage, "", err)
	}
	request, err := enrolment.Parse(made.Request)
	if err != nil {
		return err
	}
	name := w.Name + ".request"
	names := []string{name}
	for _, k := range made.Keys {
		names = append(names, k.Name)
	}
	files, err := openFileSet(dir, w.Name, names...)
	if err != nil {
		return taken(err)
	}
	err = files.write(name, made.Request)
	for _, k := range made.Keys {
		if err == nil {
			err = pqcrypto.WriteKeyFile(files.path(k.Name), k.Key)
		}
	}
	if err != nil {
		return errors.CombineErrors(err, files.clear())
	}
	if err := files.publish(); err != nil {
		return taken(err)
	}
	a.did(effect{text: "keys and request are made: " + printable(filepath.Join(dir, name))})
	return a.printRequest(filepath.Join(dir, name), request)
}

func (a *app) printRequest(file string, r *enrolment.Request) error {
	sum := r.Fingerprint()
	v := struct {
		File        string `json:"file"`
		Kind        string `json:"kind"` // request
		For         string `json:"for"`  // node, client, authority
		Name        string `json:"name"`
		Cluster     string `json:"cluster,omitempty"`
		Suite       string `json:"suite"`
		Fingerprint string `json:"fingerprint"`
	}{file, "request", string(r.Kind), r.Name, "", r.Suite, hex.EncodeToString(sum[:])}
	if r.Cluster != 0 {
		v.Cluster = r.Cluster.String()
	}
	return a.emit(v, func(w *page) {
		fmt.Fprintf(w, "request of the %s %s\n", r.Kind, r.Name)
		pairs := []string{"  file", file}
		if v.Cluster != "" {
			pairs = append(pairs, "  cluster", v.Cluster)
		}
		if r.Founding() || r.Joining() {
			pairs = append(pairs, "  addresses", "peer "+r.Peer+", api "+r.API+", http "+r.HTTP)
		}
		fields(w, append(pairs, "  suite", r.Suite, "  sha256", v.Fingerprint)...)
	})
}

func (a *app) pkiSignCommand() *cobra.Command {
	var dir, ca, roles, origin string
	var first uint64
	var validity time.Duration
	var quorum int
	cmd := &cobra.Command{
		Use:   "sign REQUEST...",
		Short: "Answer requests with certificates",
		Long: `Answer requests. DIR/NAME gets the files that go back to NAME: its certificates
and the root, none of them secret. Compare each request's fingerprint first
(` + "`cairn pki inspect`" + `): whoever has its private keys will be NAME.

With --new-cluster ORIGIN the requests are those of all nodes of a new cluster,
in the order of their Raft ids. Each gets its node.yaml, the policy of the first
ledger and the cluster's log key besides, sealed so that this node alone can
open it. The log key is made for this and kept nowhere else.`,
		Example: `  cairn pki sign --ca ca --dir out --new-cluster example.org/ledger n*.request
  cairn pki sign --ca ca --dir out --roles writer billing.request`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			authority, err := loadAuthority(ca)
			if err != nil {
				return err
			}
			var requests []*enrolment.Request
			seen := map[string]string{}
			clients := false
			for _, file := range args {
				r, err := enrolment.ReadFile(file)
				if err != nil {
					return requestError(err)
				}
				if other := seen[r.Name]; other != "" {
					return usagef("%s and %s are both of %s", printable(other), printable(file), r.Name)
				}
				seen[r.Name] = file
				clients = clients || r.Kind == enrolment.Client
				if r.Founding() && origin == "" {
					return usagef("%s is of a node of a new cluster: pass the requests of all its nodes, and --new-cluster ORIGIN", printable(file))
				}
				requests = append(requests, r)
			}
			grant := enrolment.Grant{Validity: validity}
			if clients {
				if grant.Roles, err = clientRoles(roles); err != nil {
					return err
				}
			} else if roles != "" {
				return usagef("--roles is for clients: none of the requests is a client's")
			}
			var answers []*enrolment.Answer
			if origin != "" {
				if err := directory.CheckOrigin(node.DirectoryOf(origin)); err != nil {
					return fail(exitUsage, "", errors.Wrap(err, "--new-cluster"))
				}
				if least, most := seal.QuorumRange(len(requests)); quorum != 0 && (quorum < least || quorum > most) {
					return usagef("--seal-quorum: %d is out of range: must be %d to %d for %s", quorum, least, most, plural(len(requests), "node", "nodes"))
				}
				founded, err := founding.Found(authority, requests, founding.Founding{Origin: origin, SealQuorum: quorum, Validity: validity, FirstID: first})
				if err != nil {
					return requestError(err)
				}
				for _, n := range founded.Nodes {
					answers = append(answers, n.Answer)
				}
			} else if cmd.Flags().Changed("seal-quorum") || cmd.Flags().Changed("first-id") {
				return usagef("--seal-quorum and --first-id are for --new-cluster")
			} else {
				for _, r := range requests {
					g := grant
					if r.Kind != enrolment.Client {
						g.Roles = 0
					}
					answer, err := enrolment.Sign(authority, r, g)
					if err != nil {
						return requestError(err)
					}
					answers = append(answers, answer)
				}
			}
			return a.writeAnswers(dir, answers)
		},
	}
	f := cmd.Flags()
	f.StringVar(&ca, "ca", ".", caUsage)
	f.StringVar(&dir, "dir", ".", "`directory` to write the answers to, each in NAME of it")
	f.StringVar(&roles, "roles", "", "`roles` of the clients: reader, writer, admin, participant, operator; separated by commas")
	f.StringVar(&origin, "new-cluster", "", "the nodes form a new cluster, whose first ledger has this `name`")
	numberFlag(f, &first, "first-id", "", 1, 1, maxIndex-100, "`number` of the first node of a new cluster: above all that a backup names")
	numberFlag(f, &quorum, "seal-quorum", "", 0, 0, local.MaxNodes, "`number` of cosignatures that seal a checkpoint, at least a majority (0: a majority)")
	numberFlag(f, &validity, "validity", "", local.LeafValidity, time.Second, maxValidity, "validity")
	return cmd
}

// requestError is about a request that is not answered.
func requestError(err error) error {
	return fail(exitRefused, "nothing was signed; have the request made again, or correct the command", err)
}

// writeAnswers writes each answer to a directory of its own, none of which may exist with such
// files.
func (a *app) writeAnswers(dir string, answers []*enrolment.Answer) error {
	var sets []*fileSet
	for _, answer := range answers {
		var names []string
		for _, file := range answer.Files {
			names = append(names, file.Name)
		}
		files, err := openFileSet(filepath.Join(dir, answer.Name), answer.Name, names...)
		if err == nil {
			sets = append(sets, files)
			for _, file := range answer.Files {
				if err == nil {
					err = files.write(file.Name, file.Data)
				}
			}
		}
		if err != nil {
			for _, s := range sets {
				err = errors.CombineErrors(err, s.clear())
			}
			return taken(err)
		}
	}
	for i, files := range sets {
		if err := files.publish(); err != nil {
			return taken(err)
		}
		answer := answers[i]
		a.did(effect{text: "the answer to " + answer.Name + " is in " + printable(filepath.Join(dir, answer.Name))})
		for n := range answer.Certificates {
			if err := a.printCertificates(filepath.Join(dir, answer.Name, answer.Files[n].Name), answer.Certificates[n:n+1]); err != nil {
				return err
			}
		}
	}
	return nil
}
