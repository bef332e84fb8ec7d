package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"syscall"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/ledger"
)

// appendFlags are the flags of append.
type appendFlags struct {
	key      string
	noKey    bool
	sealed   bool
	expected uint64
	lines    string
	receipt  string
	force    bool
	empty    bool // --allow-empty
	digest   bool
}

func (a *app) appendCommand() *cobra.Command {
	var f appendFlags
	cmd := &cobra.Command{
		Use:   "append [FILE | -]",
		Short: "Append an entry, or with --lines one entry for each line of a file",
		Long: `Append the bytes of FILE (or of standard input, with - or without an argument)
as one entry and print its index. The command returns when the entry is durable
on a quorum; with --sealed when a majority of the replicas has cosigned it, with
the receipt. If that takes longer than --timeout the entry is in the ledger all
the same: its index is printed, and the exit code is 10.

An input without a byte is refused, since it mostly comes from a command that
failed; --allow-empty accepts it.

With --digest the entry holds the SHA-256 digest and the size of the input, of
which there may be any amount: one line, "cairn-digest v1 sha256 DIGEST SIZE".
The document itself does not leave this machine; cairn verify --payload FILE
compares it.

With --lines FILE each line (without its newline) becomes an entry, in order;
- is standard input. One result is printed for each, in order, as soon as it is
acknowledged. Lines that arrive while a request is in flight leave together in
the next one.

Every entry gets an idempotency key, a random one unless --key gives it: when a
node dies in the middle, the entry is sent again under the same key and appended
once. With --lines the keys are KEY-1, KEY-2, ...: the same command with the
same --key continues where it was interrupted.`,
		Example: `  echo hello | cairn append
  cairn append --key invoice-17 --sealed -o invoice-17.tlog-proof \
      --digest invoice-17.pdf
  cairn append --lines /var/log/dpkg.log --output json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case f.noKey && f.key != "":
				return usagef("--key and --no-key exclude each other")
			case f.lines != "" && len(args) > 0:
				return usagef("--lines FILE takes no other argument")
			case f.lines != "" && (f.receipt != "" || cmd.Flags().Changed("expected-size")):
				return usagef("--out and --expected-size are for one entry, not for --lines")
			case f.lines != "" && f.digest:
				return usagef("--digest is for one document, --lines appends each line")
			case f.receipt != "" && !f.sealed:
				return usagef("--out writes the receipt, which needs --sealed")
			}
			if f.lines != "" {
				return a.appendLines(cmd.Context(), f)
			}
			name := "-"
			if len(args) == 1 {
				name = args[0]
			}
			var out *target
			if f.receipt != "" {
				var err error
				if out, err = a.openTarget("--out", f.receipt, f.force); err != nil {
					return err
				}
			}
			payload, err := a.readEntry(cmd.Context(), name, f)
			if err != nil {
				return err
			}
			return a.appendOne(cmd, f, payload, cmd.Flags().Changed("expected-size"), out)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.key, "key", "", "idempotency `key`, 1 to 128 bytes")
	fl.BoolVar(&f.noKey, "no-key", false, "no idempotency key: a retry may append twice")
	fl.BoolVar(&f.sealed, "sealed", false, "wait for the cosigned checkpoint and get the receipt")
	numberFlag(fl, &f.expected, "expected-size", "", 0, 0, maxIndex, "append only if the ledger has exactly this `size`")
	fl.StringVar(&f.lines, "lines", "", "append each line of this `file`")
	fl.StringVarP(&f.receipt, "out", "o", "", "with --sealed: write the receipt to this new `file`; - is standard output")
	fl.BoolVar(&f.force, "force", false, "with --out: replace the file if it exists")
	fl.BoolVar(&f.empty, "allow-empty", false, "accept an input without a byte: an empty entry, or with --lines none")
	fl.BoolVar(&f.digest, "digest", false, "append the SHA-256 digest and the size of the input, which may be of any size")
	return cmd
}

// readEntry reads the payload of an entry.
func (a *app) readEntry(ctx context.Context, name string, f appendFlags) (payload []byte, err error) {
	size := int64(0)
	if f.digest {
		var d digest
		if d, err = a.digestInput(ctx, name); err == nil {
			payload, size = d.marshal(), d.size
		}
	} else if payload, err = a.readInput(ctx, name, ledger.MaxLeafSize); err == nil {
		size = int64(len(payload))
	}
	switch {
	case errors.Is(err, errTooLong):
		return nil, fail(exitInvalid, tooLargeNext, errors.Wrap(err, "read entry"))
	case errors.Is(err, syscall.EISDIR):
		return nil, fail(exitUsage, "an entry is one file; nothing was appended", errors.Wrap(err, "read entry"))
	case err != nil:
		return nil, errors.Wrap(err, "read entry") // no such file, no permission, interrupted: as everywhere
	case size == 0 && !f.empty:
		return nil, emptyInput(inputName(name))
	}
	return payload, nil
}

const tooLargeNext = "an entry holds less than 64 KiB: `cairn append --digest FILE` appends the digest of a larger document"

// emptyInput refuses an input without a byte: it mostly comes from a command that failed.
func emptyInput(name string) error {
	return failf(exitUsage, "look at where the input comes from; --allow-empty accepts it", "%s is empty: nothing was appended", name)
}

// inputName names an input in a message.
func inputName(name string) string {
	if name == "-" {
		return "standard input"
	}
	return printable(name)
}

// appendedResult is one acknowledged entry.
type appendedResult struct {
	Index     uint64 `json:"index"`
	Line      uint64 `json:"line,omitempty"` // with --lines, from 1
	Duplicate bool   `json:"duplicate"`
	keyJSON
	Time    string `json:"time,omitempty"`
	Receipt string `json:"receipt,omitempty"` // a .tlog-proof, with --sealed
}

func newAppendedResult(x client.Appended, key []byte) appendedResult {
	r := appendedResult{Index: x.Index, Duplicate: x.Duplicate, keyJSON: newKeyJSON(key)}
	if !x.Time.IsZero() {
		r.Time = timeString(x.Time.UnixMicro())
	}
	if x.Receipt != nil {
		r.Receipt = string(x.Receipt.Marshal())
	}
	return r
}

// randomKey returns a key that nobody else has.
func randomKey() string {
	var b [12]byte
	_, _ = rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func (a *app) appendOne(cmd *cobra.Command, f appendFlags, payload []byte, expect bool, out *target) error {
	e := client.Entry{Payload: payload}
	switch {
	case f.key != "":
		e.Key = []byte(f.key)
	case !f.noKey:
		e.Key = []byte(randomKey())
	}
	var opts []client.AppendOption
	if f.sealed {
		opts = append(opts, client.Sealed())
	}
	if expect {
		opts = append(opts, client.ExpectedSize(f.expected))
	}
	return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
		if most := ledger.MaxBody(c.Principal(), len(e.Key)); len(payload) > most {
			return failf(exitInvalid, tooLargeNext, "the payload has %d bytes, at most %d fit into an entry of this writer", len(payload), most)
		}
		a.did(effect{keyJSON: newKeyJSON(e.Key)}) // from here on every error names the key
		appended, err := c.AppendBatch(ctx, []client.Entry{e}, opts...)
		if len(appended) == 1 {
			a.did(appendedEffect(appended[0], e, err))
		}
		late := notSealed(err, appended...)
		if err != nil && late == nil {
			return changeError(errors.Wrap(err, "append"), retryHint(e.Key))
		}
		x := appended[0]
		r := newAppendedResult(x, e.Key)
		if out.file() && late == nil {
			if err := out.write(x.Receipt.Marshal()); err != nil {
				return err
			}
		}
		text := func(w *page) { a.appendedText(w, r, x.Receipt, f.receipt) }
		if out.stdout() && !a.json && late == nil { // standard output is the receipt's
			if !a.quiet {
				_ = printPage(a.err, a.errScreen, text)
			}
			return a.emitBytes(x.Receipt.Marshal())
		}
		if err := a.emit(r, text); err != nil {
			return err
		}
		return late
	})
}

// retryHint says how to repeat an append whose outcome is unknown.
func retryHint(key []byte) string {
	if len(key) == 0 {
		return "look for the entry with `cairn log` before you append it again: it had no key"
	}
	return "repeat the command with --key " + shellWord(string(key)) + ": the entry is then in the ledger once, whatever happened"
}

// appendedEffect is what an acknowledged append has done; err is what came with the
// acknowledgement.
func appendedEffect(x client.Appended, e client.Entry, err error) effect {
	key := newKeyJSON(e.Key)
	text := fmt.Sprintf("entry %d is in the ledger", x.Index)
	if k := key.keyText(); k != "" {
		text += " under the key " + k
	}
	var fork *client.ForkError
	var proof *client.VerificationError
	if errors.As(err, &fork) || errors.As(err, &proof) {
		text = "the node says that " + text // and its answer does not verify
	}
	return effect{
		text: text, index: &x.Index, keyJSON: key,
		next: fmt.Sprintf("do not append it again; `cairn get %d` prints it, `cairn receipt %d` its receipt", x.Index, x.Index),
	}
}

func (a *app) appendedText(w *page, r appendedResult, receipt *client.Receipt, file string) {
	pairs := []string{"index", fmt.Sprint(r.Index)}
	if r.Duplicate {
		pairs = append(pairs, "duplicate", "of the entry first appended under this key")
	}
	if r.Time != "" {
		pairs = append(pairs, "time", r.Time)
	}
	if key := r.keyText(); key != "" {
		pairs = append(pairs, "key", loose+key)
	}
	if receipt != nil {
		where := "(--out FILE writes it)"
		switch file {
		case "":
		case "-":
			where = "on standard output"
		default:
			where = printable(file)
		}
		pairs = append(pairs, "receipt", where)
	}
	fields(w, pairs...)
}
