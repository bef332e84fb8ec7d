package lpa

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
)

// dialTLS is a client that speaks TLS but not LPA/1: it sends what HTTP/2 would.
func dialTLS(config *tls.Config) func(net.Conn) {
	return func(raw net.Conn) {
		stream := tls.Client(raw, config)
		if stream.Handshake() == nil {
			_, _ = stream.Write([]byte(appBytes))
			_, _ = io.Copy(io.Discard, stream)
		}
		_ = raw.Close()
	}
}

func TestServerRefusesOuterTLS(t *testing.T) {
	t.Parallel()
	bothSuites(t, func(t *testing.T, w *world) {
		other := Suite1024
		if w.suite == other {
			other = Suite768
		}
		for name, tc := range map[string]struct {
			edit func(*tls.Config)
			want []string
		}{
			"X25519 only":          {func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} }, []string{ReasonTLS}},
			"P-384 only":           {func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }, []string{ReasonTLS}},
			"another hybrid":       {func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.SecP256r1MLKEM768} }, []string{ReasonTLS}},
			"group of other suite": {func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{other.group} }, []string{ReasonTLS}},
			"TLS 1.2":              {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }, []string{ReasonTLS}},
			"no ALPN":              {func(c *tls.Config) { c.NextProtos = nil }, []string{ReasonDowngrade}},
			"ALPN of HTTP/2":       {func(c *tls.Config) { c.NextProtos = []string{"h2"} }, []string{ReasonTLS}},
			"ALPN of other suite":  {func(c *tls.Config) { c.NextProtos = []string{other.alpn} }, []string{ReasonTLS}},
			"no LPA inside":        {func(c *tls.Config) {}, []string{ReasonFrame}},
		} {
			t.Run(name, func(t *testing.T) {
				config := w.suite.tlsConfig()
				config.InsecureSkipVerify = true
				tc.edit(config)
				wantReason(t, attackServer(t, w.config(w.n1), dialTLS(config)), tc.want...)
			})
		}
		t.Run("no TLS", func(t *testing.T) {
			err := attackServer(t, w.config(w.n1), func(raw net.Conn) { _, _ = raw.Write([]byte(appBytes)) })
			wantReason(t, err, ReasonTLS)
		})
	})
}

func TestClientRefusesOuterTLS(t *testing.T) {
	t.Parallel()
	bothSuites(t, func(t *testing.T, w *world) {
		for name, edit := range map[string]func(*tls.Config){
			"X25519 only": func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} },
			"TLS 1.2":     func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 },
			"no ALPN":     func(c *tls.Config) { c.NextProtos = nil },
			"other ALPN":  func(c *tls.Config) { c.NextProtos = []string{"h2"} },
		} {
			t.Run(name, func(t *testing.T) {
				config := w.suite.tlsConfig()
				config.Certificates = []tls.Certificate{must(throwawayLeaf())}
				edit(config)
				err := attackClient(t, w.config(w.client), nodeOne, func(raw net.Conn) *tls.Conn {
					stream := tls.Server(raw, config)
					if stream.Handshake() != nil {
						_ = raw.Close()
						return nil
					}
					l, _ := w.config(w.n1).prepare()
					_, _ = stream.Write(l.m1)
					return stream
				})
				wantReason(t, err, ReasonTLS, ReasonDowngrade)
			})
		}
	})
}

// TestLaxTLSIsCaught gives one side a TLS configuration that would accept anything, as a patched or
// misconfigured stack might: the check after the handshake must find it.
func TestLaxTLSIsCaught(t *testing.T) {
	t.Parallel()
	bothSuites(t, func(t *testing.T, w *world) {
		for name, edit := range map[string]func(*tls.Config){
			"X25519":        func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} },
			"another group": func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.SecP256r1MLKEM768} },
			"TLS 1.2": func(c *tls.Config) {
				c.MaxVersion, c.CurvePreferences = tls.VersionTLS12, []tls.CurveID{tls.X25519}
			},
			"no protocol": func(c *tls.Config) { c.NextProtos = nil },
		} {
			for _, laxSide := range []Side{SideClient, SideServer} {
				t.Run(name+", lax "+laxSide.String(), func(t *testing.T) {
					strict := w.suite.tlsConfig()
					strict.MinVersion = tls.VersionTLS12
					edit(strict)
					lax := &tls.Config{NextProtos: []string{w.suite.alpn}}
					if laxSide == SideClient && name == "no protocol" {
						lax.NextProtos = nil
					}
					craw, sraw := tcpPair(t)
					client, server := lax, strict
					if laxSide == SideServer {
						client, server = strict, lax
					}
					client.InsecureSkipVerify = true
					server.Certificates = []tls.Certificate{must(throwawayLeaf())}
					var cerr, serr error
					var wg sync.WaitGroup
					wg.Go(func() { _, _, serr = w.suite.outer(tls.Server(sraw, server)) })
					_, _, cerr = w.suite.outer(tls.Client(craw, client))
					wg.Wait()
					wantReason(t, cerr, ReasonDowngrade)
					wantReason(t, serr, ReasonDowngrade)
				})
			}
		}
	})
}

// TestResumption tries to resume against our server, which must not hand out tickets, and between
// two lax stacks, where the check after the handshake must find it.
func TestResumption(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	t.Run("our server", func(t *testing.T) {
		config := w.suite.tlsConfig()
		config.InsecureSkipVerify, config.SessionTicketsDisabled = true, false
		config.ServerName, config.ClientSessionCache = "n1", tls.NewLRUClientSessionCache(8)
		for i := range 3 {
			craw, sraw := tcpPair(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				conn, err := w.config(w.n1).Server(context.Background(), sraw)
				if err == nil {
					_, _ = conn.Write([]byte("welcome"))
					_ = conn.Close()
				}
			}()
			stream := tls.Client(craw, config)
			if err := stream.Handshake(); err != nil {
				t.Fatal(err)
			}
			state := stream.ConnectionState()
			if state.DidResume {
				t.Fatalf("connection %d resumed the session before it", i)
			}
			ekm := must(state.ExportKeyingMaterial(exporterLabel, []byte(w.suite.alpn), ekmSize))
			evil := &evilClient{cfg: w.config(w.client), server: nodeOne}
			evil.inside(t, stream, ekm)
			_, _ = io.Copy(io.Discard, stream) // a ticket would be in here
			<-done
			if _, ok := config.ClientSessionCache.Get("n1"); ok {
				t.Fatal("the server handed out a session ticket")
			}
		}
	})
	t.Run("lax stacks", func(t *testing.T) {
		server := w.suite.tlsConfig()
		server.SessionTicketsDisabled = false
		server.Certificates = []tls.Certificate{must(throwawayLeaf())}
		client := w.suite.tlsConfig()
		client.InsecureSkipVerify, client.SessionTicketsDisabled = true, false
		client.ServerName, client.ClientSessionCache = "n1", tls.NewLRUClientSessionCache(8)
		for i := range 2 {
			craw, sraw := tcpPair(t)
			var serr error
			var wg sync.WaitGroup
			wg.Go(func() {
				var stream *tls.Conn
				if stream, _, serr = w.suite.outer(tls.Server(sraw, server)); serr == nil {
					_, _ = stream.Write([]byte("x"))
				}
				_ = sraw.Close()
			})
			stream, _, cerr := w.suite.outer(tls.Client(craw, client))
			if cerr == nil {
				_, _ = io.Copy(io.Discard, stream)
			}
			wg.Wait()
			if i == 0 {
				if cerr != nil || serr != nil {
					t.Fatalf("first connection: %v, %v", cerr, serr)
				}
				continue
			}
			wantReason(t, cerr, ReasonDowngrade)
			wantReason(t, serr, ReasonDowngrade)
		}
	})
}

// TestGODEBUGFailsClosed turns the hybrid groups off from outside. It changes the process's
// environment, so it is not parallel.
func TestGODEBUGFailsClosed(t *testing.T) {
	for _, tc := range []struct {
		setting string
		works   map[*Suite]bool
	}{
		{"tlsmlkem=0", map[*Suite]bool{Suite768: false, Suite1024: false}},
		{"tlssecpmlkem=0", map[*Suite]bool{Suite768: true, Suite1024: false}},
	} {
		t.Run(tc.setting, func(t *testing.T) {
			t.Setenv("GODEBUG", tc.setting)
			for s, works := range tc.works {
				w := worldOf(s)
				_, _, cerr, serr := shake(t, w.config(w.client), nodeOne, w.config(w.n1))
				if works {
					if cerr != nil || serr != nil {
						t.Errorf("suite %s: %v, %v, want success", s, cerr, serr)
					}
					continue
				}
				wantReason(t, cerr, ReasonTLS)
				if serr == nil {
					t.Errorf("suite %s: the server accepted", s)
				}
			}
		})
	}
}
