package cluster_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/enrolment"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// rootOf is the authority of a local cluster.
func rootOf(t *testing.T, c *local.Cluster) *pki.Authority {
	t.Helper()
	root, err := pki.LoadAuthority(filepath.Join(c.Dir(), "pki", "root.crt"), filepath.Join(c.Dir(), "pki", "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// renew makes new keys for a node, has them signed, and puts the files in the place of the old
// ones. It returns the new identity certificate.
func renew(t *testing.T, c *local.Cluster, authority *pki.Authority, name string, g enrolment.Grant) *pki.Certificate {
	t.Helper()
	made, err := enrolment.Make(enrolment.Wanted{Kind: enrolment.Node, Name: name, Cluster: clusterOf(t, c), Suite: c.Suite()})
	if err != nil {
		t.Fatal(err)
	}
	r, err := enrolment.Parse(made.Request)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := enrolment.Sign(authority, r, g)
	if err != nil {
		t.Fatal(err)
	}
	dir := c.NodeDir(name)
	for _, k := range made.Keys {
		text, err := pqcrypto.MarshalPrivateKeyPEM(k.Key)
		if err == nil {
			err = wholefile.Write(filepath.Join(dir, k.Name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range answer.Files {
		if f.Name == "root.crt" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return answer.Certificates[0]
}

// appending appends from several clients until its end is called, which returns how many entries were
// acknowledged, the longest time without an acknowledgement, and the errors.
func appending(t *testing.T, c *local.Cluster, clients int) (end func() (acked int64, gap time.Duration, failed []error)) {
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var acked atomic.Int64
	var failed []error
	var gap time.Duration
	last := time.Now()
	var wg sync.WaitGroup
	for range clients {
		cl := dial(t, c, "writer")
		wg.Go(func() {
			for ctx.Err() == nil {
				one, done := context.WithTimeout(context.Background(), 20*time.Second)
				_, err := cl.Append(one, client.Entry{Payload: []byte("x")})
				done()
				mu.Lock()
				now := time.Now()
				if err != nil {
					failed = append(failed, err)
				} else {
					acked.Add(1)
					gap, last = max(gap, now.Sub(last)), now
				}
				mu.Unlock()
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	return func() (int64, time.Duration, []error) {
		cancel()
		wg.Wait()
		return acked.Load(), gap, failed
	}
}

// TestCertificatesRotate: all nodes get new keys and certificates of an issuing authority while
// clients append, and then the old certificates, on which all open connections stand, expire. No
// append fails, and the write path does not stop.
func TestCertificatesRotate(t *testing.T) {
	const life = 16 * time.Second
	c := createCluster(t, 3)
	root := rootOf(t, c)
	var expire time.Time
	for _, name := range c.Names() {
		// Issued as if a while ago, so that they are in the last third of their validity at once.
		old := renew(t, c, root, name, enrolment.Grant{Validity: 4 * life, Now: time.Now().Add(-3 * life)})
		expire = old.NotAfter
	}
	start(t, c)
	end := appending(t, c, 4)
	leader, err := c.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	term := termOf(t, c, leader)
	// They are warned about, in the log, the metrics and the status.
	if log := string(readFile(t, c.LogPath("n1"))); !strings.Contains(log, "a certificate expires soon") || !strings.Contains(log, "certificate=kem") {
		t.Error("n1 does not warn of its certificates")
	}
	n1, err := c.Node("n1")
	if err != nil {
		t.Fatal(err)
	}
	if left := metric(t, scrapeFrom(t, n1.HTTPURL()), `cairn_certificate_left_seconds{certificate="kem"}`); left > life.Seconds() {
		t.Errorf("the metric says that %v s are left, want at most %v", left, life.Seconds())
	}
	soon := func() (kinds []string) {
		all, err := c.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			for _, certificate := range s.Status.GetCertificates() {
				if certificate.Soon {
					kinds = append(kinds, s.Name+" "+certificate.Kind)
				}
			}
		}
		return kinds
	}
	if kinds := strings.Join(soon(), ","); kinds != "n1 identity,n1 kem,n2 identity,n2 kem,n3 identity,n3 kem" {
		t.Errorf("the status warns of %q", kinds)
	}

	issuing, err := root.NewIssuing("issuing", pqcrypto.MLDSA65, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range c.Names() {
		fresh := renew(t, c, issuing, name, enrolment.Grant{Validity: time.Hour})
		if line := hangup(t, c, name, "msg=reloaded"); !strings.Contains(line, "certificate="+serial(fresh)) {
			t.Errorf("the log says %s, want the serial number %s", line, serial(fresh))
		}
	}
	if time.Now().After(expire) {
		t.Skip("the machine is too slow: the old certificates expired before the new ones were in place")
	}
	time.Sleep(time.Until(expire.Add(3 * time.Second)))
	acked, gap, failed := end()
	if len(failed) > 0 {
		t.Errorf("%d appends failed, the first with %v", len(failed), failed[0])
	}
	now := termOf(t, c, "n1")
	t.Logf("%d appends, the longest pause %v, term %d to %d", acked, gap, term, now)
	if gap > 2*time.Second {
		t.Errorf("no append was acknowledged for %v", gap)
	}
	if kinds := soon(); kinds != nil {
		t.Errorf("after the rotation the status warns of %q", kinds)
	}
}

func serial(c *pki.Certificate) string { return c.SerialNumber.Text(16) }
