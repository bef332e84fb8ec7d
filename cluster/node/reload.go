package node

import (
	"crypto/sha256"
	"os"
	"os/signal"
	"reflect"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// hangups returns a channel that receives every SIGHUP of the process. From then on SIGHUP never
// ends the process, not even while it starts or stops.
func hangups() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c
}

// reload reads again what may change while the node runs: certificates and their keys, trust
// anchors, deny list, log level and access log; and it continues the log in a new file if the old
// one was renamed. Everything is read before anything changes: an error leaves the node as it was.
func (n *node) reload() {
	if err := n.tryReload(); err != nil {
		n.log.Error("nothing was reloaded", "reason", err.Error())
	}
}

func (n *node) tryReload() error {
	next := n.cfg
	if n.cfg.path != "" {
		var err error
		if next, err = LoadConfig(n.cfg.path); err != nil {
			return err
		}
	}
	id, err := loadIdentity(&next)
	if err != nil {
		return err
	}
	roots, err := loadRoots(&next)
	if err != nil {
		return err
	}
	if err := n.roots.CheckNotOlder(roots); err != nil {
		return errors.Wrap(err, "keys.revoked: a list is never taken back while the node runs")
	}
	if err := leadsTo(id, roots); err != nil {
		return errors.Wrapf(err, "keys.certificate: %s", next.Keys.Certificate)
	}
	deny, err := loadDenyList(next.Keys.Deny)
	if err != nil {
		return err
	}
	if n.logs.file != nil {
		if err := n.logs.file.reopen(); err != nil {
			return err
		}
	}
	// Nothing is in force before Reload, which checks the identity against the suite.
	if err := n.channel.Reload(id, roots); err != nil {
		return err
	}
	n.roots = roots
	n.deny.list.Store(deny)
	n.setExpiries(id, roots)
	n.logs.set(&next)
	closed := n.channel.Recheck()
	leaf := id.Leaf()
	n.log.Info("reloaded", "certificate", serialOf(leaf), "expires", leaf.NotAfter.UTC().Format(time.RFC3339),
		"roots", len(roots.Roots()), "denied", deny.size(), "revoked", revokedBy(roots), "log_level", next.LogLevel, "access_log", next.AccessLog, "closed_connections", closed)
	if keys := n.needRestart(&next); len(keys) > 0 {
		n.log.Warn("changed, and in force only after a restart", "keys", strings.Join(keys, " "))
	}
	return nil
}

// revokedBy returns how many certificates the lists in force name.
func revokedBy(roots *pki.Pool) (n int) {
	for _, l := range roots.RevocationLists() {
		n += len(l.Serials)
	}
	return n
}

// leadsTo checks that the peers, who have the same trust anchors, will accept the identity.
func leadsTo(id *pki.Identity, roots *pki.Pool) error {
	var chain, kem [][]byte
	for _, c := range id.Chain {
		chain = append(chain, c.Raw)
	}
	for _, c := range id.KEMChain {
		kem = append(kem, c.Raw)
	}
	svid, err := roots.VerifyIdentity(chain, time.Now())
	if err != nil {
		return err
	}
	_, err = roots.VerifyKEM(kem, svid, time.Now())
	return err
}

// reloadable are the keys of node.yaml that reload takes over.
var reloadable = map[string]bool{
	"keys.roots": true, "keys.certificate": true, "keys.key": true, "keys.kem_certificate": true, "keys.kem_key": true,
	"keys.deny": true, "keys.revoked": true, "log_level": true, "access_log": true,
}

// needRestart names what has changed since the start and reload does not take over: keys of
// node.yaml, and the content of the files of keys that sign.
func (n *node) needRestart(next *Config) (keys []string) {
	var changed func(a, b reflect.Value, at string)
	changed = func(a, b reflect.Value, at string) {
		for i := range a.NumField() {
			f := a.Type().Field(i)
			if !f.IsExported() {
				continue
			}
			key := strings.TrimPrefix(at+"."+yamlName(f), ".")
			if f.Type.Kind() == reflect.Struct {
				changed(a.Field(i), b.Field(i), key)
			} else if !reloadable[key] && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
				keys = append(keys, key)
			}
		}
	}
	changed(reflect.ValueOf(n.cfg), reflect.ValueOf(*next), "")
	now := signingFiles(&n.cfg)
	for _, key := range []string{"keys.cosigner", "keys.cosigner_next", "keys.sealing", "keys.log_key", "policy"} {
		if now[key] != n.signing[key] {
			keys = append(keys, key+" (the file)")
		}
	}
	return keys
}

// signingFiles returns digests of the files that only a start reads.
func signingFiles(c *Config) map[string][sha256.Size]byte {
	digests := map[string][sha256.Size]byte{}
	for key, path := range map[string]string{
		"keys.cosigner": c.Keys.Cosigner, "keys.cosigner_next": c.Keys.CosignerNext, "keys.sealing": c.Keys.Sealing, "keys.log_key": c.Keys.LogKey, "policy": c.Policy,
	} {
		raw, err := wholefile.Read(path, maxConfigBytes)
		if err != nil {
			raw = []byte(err.Error()) // an unreadable file differs from the one that was read
		}
		digests[key] = sha256.Sum256(raw)
	}
	return digests
}
