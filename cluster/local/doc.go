// Package local runs a whole Cairn cluster as processes of one machine, in one
// directory: keys, certificates, policy, profiles, ports, logs and data.
//
// It guarantees that a cluster's directory describes it completely: any later
// process can Open it and start, kill, pause or destroy its nodes. It signals a
// process only after it checked that the process is the one that it started
// (by start time, not only by number), so a recycled process number is never
// hit. Ports are chosen once, outside the range that the kernel hands to
// outgoing connections, and kept.
//
// It assumes that nobody else writes into the directory, and that all keys may
// lie on one machine: such a cluster is for development, tests and
// demonstrations. It protects nothing from its own operator.
//
// Its callers are cmd/cairn (cluster, demo, bench --local) and tests. The
// smallest use:
//
//	c, err := local.Create(local.Options{Dir: dir, Nodes: 3, Executable: exe})
//	err = c.Start(ctx)
//	defer c.Destroy(context.Background())
//
// A cluster has a directory, ORIGIN/directory, which begins with the first start of its nodes.
// Start creates the first ledger, ORIGIN, when a majority runs; the profiles name it.
//
// # The directory
//
//	cluster.json         names, numbers and ports of the nodes
//	bin/cairn            the binary that the nodes run
//	env                  variables for the shell to source
//	policy, log.vkey     what a verifier needs
//	pki/                 root certificate and key
//	profiles/            writer.yaml, reader.yaml, admin.yaml and their keys
//	n1/, n2/, ...        node.yaml, keys, data/, log, pid
package local
