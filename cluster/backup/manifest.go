package backup

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

const (
	manifestFile  = "MANIFEST"
	manifestMagic = "cairn backup v1"
	maxManifest   = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Manifest says what a copy has. MANIFEST is text: the magic, the cluster, the directory's origin, the
// time, a line for each ledger, and the CRC-32C of everything before.
type Manifest struct {
	Cluster   string // id of the cluster that the newest copy was taken of
	Directory string // origin
	Taken     time.Time
	// Ledgers are those that the directory lists, and the directory itself, with groups in ascending
	// order.
	Ledgers []Row
}

// Row is how far the copy of a ledger is.
type Row struct {
	Group  uint64
	Origin string
	Size   uint64
	Root   merkle.Hash
	// Policies are the indexes of the policy changes and hand-overs below Size, ascending.
	Policies []uint64
}

func (m *Manifest) marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\ncluster %s\ndirectory %s\ntaken %s\n", manifestMagic, m.Cluster, m.Directory, m.Taken.UTC().Format(time.RFC3339))
	for _, r := range m.Ledgers {
		fmt.Fprintf(&b, "ledger %d %s %d %s", r.Group, r.Origin, r.Size, r.Root)
		for _, index := range r.Policies {
			fmt.Fprintf(&b, " %d", index)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "crc32c %08x\n", crc32.Checksum(b.Bytes(), castagnoli))
	return b.Bytes()
}

// parseManifest accepts exactly what marshal writes.
func parseManifest(raw []byte) (*Manifest, error) {
	at := bytes.LastIndex(raw, []byte("crc32c "))
	if at < 0 || string(raw[at:]) != fmt.Sprintf("crc32c %08x\n", crc32.Checksum(raw[:at], castagnoli)) {
		return nil, errors.New("the checksum does not match: the file is damaged")
	}
	lines := strings.Split(string(raw[:at]), "\n")
	if len(lines) < 5 || lines[0] != manifestMagic {
		return nil, errors.Newf("the file does not start with %q", manifestMagic)
	}
	m := &Manifest{}
	var err error
	if m.Taken, err = time.Parse(time.RFC3339, strings.TrimPrefix(lines[3], "taken ")); err != nil {
		return nil, errors.Wrap(err, "parse the line taken")
	}
	m.Cluster, m.Directory = strings.TrimPrefix(lines[1], "cluster "), strings.TrimPrefix(lines[2], "directory ")
	for _, line := range lines[4 : len(lines)-1] {
		r, err := parseRow(strings.Fields(line))
		if err != nil {
			return nil, errors.Wrapf(err, "parse %q", line)
		}
		m.Ledgers = append(m.Ledgers, r)
	}
	ascending := slices.IsSortedFunc(m.Ledgers, func(a, b Row) int { return cmp.Compare(a.Group, b.Group) })
	if !ascending || !bytes.Equal(m.marshal(), raw) {
		return nil, errors.New("the file is not written as this program writes it")
	}
	return m, nil
}

func parseRow(fields []string) (r Row, err error) {
	if len(fields) < 5 || fields[0] != "ledger" {
		return r, errors.New("want ledger, group, origin, size and root")
	}
	r.Origin = fields[2]
	numbers := slices.Concat([]string{fields[1], fields[3]}, fields[5:])
	var parsed []uint64
	for _, field := range numbers {
		n, err := strconv.ParseUint(field, 10, 63)
		if err != nil {
			return r, err
		}
		parsed = append(parsed, n)
	}
	r.Group, r.Size, r.Policies = parsed[0], parsed[1], parsed[2:]
	r.Root, err = merkle.ParseHash(fields[4])
	return r, err
}

// row returns the row of a group, nil when there is none.
func (m *Manifest) row(group uint64) *Row {
	for i := range m.Ledgers {
		if m.Ledgers[i].Group == group {
			return &m.Ledgers[i]
		}
	}
	return nil
}
