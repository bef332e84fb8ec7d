package server

import (
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

// Limits bound what clients can make a node do. The zero value of a field means its default.
type Limits struct {
	BatchEntries int // entries in one append; default and most 8192
	BatchBytes   int // ledger.Batch.Size of one append, bytes; default and most 1 MiB
	RequestBytes int // one message from a client, bytes; default 2 MiB

	Connections         int // connections at a time; default 1024
	StreamsPerConn      int // calls at a time on one connection; default 128
	Streams             int // calls at a time; default 1024. Each can make the node hold its window (1 MiB) of unread data
	StreamsPerPrincipal int // calls at a time of one principal; default 512
	Watches             int // watchers at a time; default 256
	WatchesPerPrincipal int // watchers at a time of one principal; default 128

	StreamBatches int // batches of one AppendStream that are not answered; default 64
	StreamBytes   int // and their bytes, with those of the receipts that they wait for; default 8 MiB

	RangeEntries int // entries in one message of a Range or Watch; default 1024
	RangeBytes   int // and their bytes; default 256 KiB

	BlocksBytes int // what all callers of Blocks together get in a second, bytes; default 32 MiB

	SealWait   time.Duration // how long an append waits for its seal, and a receipt; default 2 s
	BehindWait time.Duration // how long a local read waits for min_size; default 1 s
	SendStall  time.Duration // how long a stream waits for a client that does not read; default 10 s
	WatchAlive time.Duration // between signs of life on an idle Watch; default 1 s
	WatchAlone time.Duration // how long an idle Watch goes on while the node knows no leader; default 3 s
}

func (l *Limits) fill() error {
	ints := []struct {
		value        *int
		name         string
		preset, most int
	}{
		{&l.BatchEntries, "batch entries", 8192, 8192},
		{&l.BatchBytes, "batch bytes", ledger.MaxBatchSize, ledger.MaxBatchSize},
		{&l.RequestBytes, "request bytes", 2 << 20, 16 << 20},
		{&l.Connections, "connections", 1024, 1 << 16},
		{&l.StreamsPerConn, "streams per connection", 128, 1 << 16},
		{&l.Streams, "streams", 1024, 1 << 20},
		{&l.StreamsPerPrincipal, "streams per principal", 512, 1 << 20},
		{&l.Watches, "watches", 256, 1 << 16},
		{&l.WatchesPerPrincipal, "watches per principal", 128, 1 << 16},
		{&l.StreamBatches, "stream batches", 64, 1 << 12},
		{&l.StreamBytes, "stream bytes", 8 << 20, 1 << 30},
		{&l.RangeEntries, "range entries", 1024, 1 << 14},
		{&l.RangeBytes, "range bytes", 256 << 10, 4 << 20},
		{&l.BlocksBytes, "bytes of blocks in a second", 32 << 20, 1 << 30},
	}
	for _, i := range ints {
		if *i.value == 0 {
			*i.value = i.preset
		}
		if *i.value < 1 || *i.value > i.most {
			return errors.Newf("limit of %s is %d, must be 1 to %d", i.name, *i.value, i.most)
		}
	}
	durations := []struct {
		value  *time.Duration
		name   string
		preset time.Duration
	}{
		{&l.SealWait, "seal wait", 2 * time.Second},
		{&l.BehindWait, "behind wait", time.Second},
		{&l.SendStall, "send stall", 10 * time.Second},
		{&l.WatchAlive, "watch alive", time.Second},
		{&l.WatchAlone, "watch alone", 3 * time.Second},
	}
	for _, d := range durations {
		if *d.value == 0 {
			*d.value = d.preset
		}
		if *d.value < 0 {
			return errors.Newf("limit of %s is %v, must be positive", d.name, *d.value)
		}
	}
	return nil
}
