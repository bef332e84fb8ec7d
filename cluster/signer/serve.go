package signer

import (
	"context"
	"encoding/json"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

const (
	keyPath    = "/v1/key"
	cosignPath = "/v1/cosign"
	// maxBody bounds a request and an answer in bytes.
	maxBody = 16 << 10
)

// cosignRequest is the body of POST /v1/cosign. Byte strings are base64.
type cosignRequest struct {
	KeyID     uint32 `json:"key_id"` // of the key to sign with
	Origin    string `json:"origin"`
	Size      uint64 `json:"size"`
	Root      []byte `json:"root"`      // 32 bytes
	Timestamp uint64 `json:"timestamp"` // seconds since the Unix epoch
}

// cosignAnswer is the body of every answer: of a 200 with data, otherwise with an error. A 409 is a
// contradiction.
type cosignAnswer struct {
	KeyID uint32 `json:"key_id,omitempty"`
	Data  []byte `json:"data,omitempty"` // of the signature line, without the key's id
	Error string `json:"error,omitempty"`
}

type keyAnswer struct {
	Keys []string `json:"keys"` // C2SP vkeys
}

// Listen makes the socket, with mode 0660, and takes the place of one that nobody listens on.
func Listen(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != fs.ModeSocket {
			return nil, errors.Newf("%s exists and is no socket", path)
		}
		if c, err := net.Dial("unix", path); err == nil {
			return nil, errors.CombineErrors(errors.Newf("%s: another process listens on the socket", path), c.Close())
		}
		if err := os.Remove(path); err != nil {
			return nil, errors.Wrap(err, "remove the socket of an ended process")
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, errors.Wrap(err, "listen on the socket")
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.CombineErrors(errors.Wrap(err, "set the socket's mode"), l.Close())
	}
	return l, nil
}

// Serve answers on a listener until ctx ends.
func (s *Signer) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: s.handler(), ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 10 * time.Minute,
		MaxHeaderBytes: maxBody, ErrorLog: log.New(discard{}, "", 0),
	}
	stop := context.AfterFunc(ctx, func() {
		wait, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = server.Shutdown(wait)
	})
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return errors.Wrap(err, "serve on the socket")
	}
	return nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func (s *Signer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+keyPath, func(w http.ResponseWriter, _ *http.Request) {
		var a keyAnswer
		for _, k := range s.Keys() {
			a.Keys = append(a.Keys, k.String())
		}
		answer(w, http.StatusOK, a)
	})
	mux.HandleFunc("POST "+cosignPath, func(w http.ResponseWriter, r *http.Request) {
		var req cosignRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&req); err != nil || len(req.Root) != len(merkle.Hash{}) {
			answer(w, http.StatusBadRequest, cosignAnswer{Error: "the body is not a checkpoint to cosign"})
			return
		}
		cp := tlog.Checkpoint{Origin: req.Origin, Size: req.Size, Root: merkle.Hash(req.Root)}
		if err := cp.Validate(); err != nil {
			answer(w, http.StatusBadRequest, cosignAnswer{Error: err.Error()})
			return
		}
		sig, err := s.Cosign(req.KeyID, cp, req.Timestamp)
		switch {
		case errors.Is(err, ErrContradiction):
			answer(w, http.StatusConflict, cosignAnswer{Error: err.Error()})
		case err != nil:
			answer(w, http.StatusInternalServerError, cosignAnswer{Error: err.Error()})
		default:
			answer(w, http.StatusOK, cosignAnswer{KeyID: sig.KeyID, Data: sig.Data})
		}
	})
	return mux
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}
