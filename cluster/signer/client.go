package signer

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle/tlog"
)

const (
	// callTimeout bounds one call. The node's sealer waits for it.
	callTimeout = time.Second
	// pause is how long after a call that was not answered the next one is tried.
	pause = 250 * time.Millisecond
)

// ErrUnavailable is matched when the signer does not answer.
var ErrUnavailable = errors.New("the signer does not answer")

// Client asks a signer on a Unix socket. It is safe for concurrent use.
type Client struct {
	socket string
	key    *tlog.VerifierKey
	http   *http.Client

	mu struct {
		sync.Mutex
		failing error     // of the last call, nil when it was answered
		since   time.Time // when failing began
		again   time.Time // no call before
	}
}

// NewClient returns a client of the signer on a socket that must have this key. It does not connect.
func NewClient(socket string, key *tlog.VerifierKey) *Client {
	return &Client{socket: socket, key: key, http: &http.Client{
		Timeout: callTimeout,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			},
			DisableCompression: true, MaxIdleConnsPerHost: 4,
		},
	}}
}

// Key returns the key that the signer must have.
func (c *Client) Key() *tlog.VerifierKey { return c.key }

// Failing returns why the last call was not answered, and since when calls are not; nil when it was.
func (c *Client) Failing() (since time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.since, c.mu.failing
}

// Check asks which keys the signer has. An error that does not match ErrUnavailable says that it does
// not have this one.
func (c *Client) Check() error {
	var a keyAnswer
	if _, err := c.call(http.MethodGet, keyPath, nil, &a); err != nil {
		return err
	}
	if !slices.Contains(a.Keys, c.key.String()) {
		return errors.Newf("the signer at %s has the keys %s, and not %s, which the node is configured with: by its row of members, keys.signer_key or keys.signer_next",
			c.socket, strings.Join(a.Keys, " "), c.key)
	}
	return nil
}

// Cosign has a checkpoint signed, and verifies the signature. The error matches ErrUnavailable when
// the signer did not answer, and ErrContradiction when it refused.
func (c *Client) Cosign(cp tlog.Checkpoint, timestamp uint64) (tlog.Signature, error) {
	body, err := json.Marshal(cosignRequest{KeyID: c.key.KeyID(), Origin: cp.Origin, Size: cp.Size, Root: cp.Root[:], Timestamp: timestamp})
	if err != nil {
		return tlog.Signature{}, errors.Wrap(err, "encode the signer's request")
	}
	var a cosignAnswer
	code, err := c.call(http.MethodPost, cosignPath, body, &a)
	switch {
	case err != nil:
		return tlog.Signature{}, err
	case code == http.StatusConflict:
		return tlog.Signature{}, errors.Mark(errors.Newf("the signer refused: %s", a.Error), ErrContradiction)
	case code != http.StatusOK:
		return tlog.Signature{}, errors.Newf("the signer refused: %s", a.Error)
	}
	sig := tlog.Signature{Name: c.key.Name(), KeyID: a.KeyID, Data: a.Data}
	if _, err := c.key.VerifyCheckpoint(cp, sig); err != nil {
		return tlog.Signature{}, errors.Wrapf(err, "the signer at %s signs with another key than the one that was asked for", c.socket)
	}
	return sig, nil
}

func (c *Client) call(method, path string, body []byte, into any) (code int, err error) {
	c.mu.Lock()
	if c.mu.failing != nil && time.Now().Before(c.mu.again) {
		err = c.mu.failing
	}
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if err != nil && c.mu.failing == nil {
			c.mu.since = time.Now()
		}
		c.mu.failing, c.mu.again = err, time.Now().Add(pause)
	}()
	r, err := http.NewRequest(method, "http://signer"+path, bytes.NewReader(body))
	if err != nil {
		return 0, errors.Wrap(err, "make the signer's request")
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return 0, errors.Mark(errors.Wrapf(err, "the signer at %s does not answer", c.socket), ErrUnavailable)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		return 0, errors.Mark(errors.Wrapf(err, "the signer at %s does not answer as a signer", c.socket), ErrUnavailable)
	}
	return resp.StatusCode, nil
}
