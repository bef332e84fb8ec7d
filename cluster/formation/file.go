package formation

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/raftnode/transport"
)

// The file is text: the magic with the version, the cluster, the node that remembers, a line for
// each founder in ascending order of IDs, and the CRC-32C of all bytes before the last line. The line
// of a node that has joined later says its own incarnation:
//
//	self 4 joined 09e5b1c2d3f4a5968778695a4b3c2d1e
//
//	cairn members v1
//	cluster 9f2c11d05e7ab364
//	self 1
//	member 1 n1 3b1f0c52a9d04e7788c19a5d6e0f2b41 complete
//	member 2 n2 c7a90d1e5b3344f0915a2e6cd8f7b013 met
//	member 3 n3 - unmet
//	crc32c 5d1c09be
const magic = "cairn members v1"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Marshal encodes the state as the content of a file.
func (s State) Marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\ncluster %016x\nself %d", magic, s.cluster, s.self)
	if s.joined() {
		fmt.Fprintf(&b, " joined %s", s.own)
	}
	b.WriteByte('\n')
	for _, r := range s.rows {
		incarnation, word := r.incarnation.String(), "met"
		switch {
		case r.complete:
			word = "complete"
		case r.incarnation == transport.Incarnation{}:
			incarnation, word = "-", "unmet"
		}
		fmt.Fprintf(&b, "member %d %s %s %s\n", r.ID, r.Name, incarnation, word)
	}
	fmt.Fprintf(&b, "crc32c %08x\n", crc32.Checksum(b.Bytes(), castagnoli))
	return b.Bytes()
}

// Parse decodes what Marshal wrote. It takes nothing else.
func Parse(raw []byte) (_ State, err error) {
	body, sum, ok := strings.Cut(string(raw), "crc32c ")
	if !ok || sum != fmt.Sprintf("%08x\n", crc32.Checksum([]byte(body), castagnoli)) {
		return State{}, errors.New("the checksum does not match: the file is damaged")
	}
	lines := strings.Split(strings.TrimSuffix(body, "\n"), "\n")
	if len(lines) < 4 || lines[0] != magic {
		return State{}, errors.Newf("the file does not start with %q", magic)
	}
	var s State
	if _, err := fmt.Sscanf(lines[1], "cluster %x", &s.cluster); err != nil {
		return State{}, errors.Wrap(err, "parse the cluster line")
	}
	if _, err := fmt.Sscanf(lines[2], "self %d", &s.self); err != nil {
		return State{}, errors.Wrap(err, "parse the self line")
	}
	for _, line := range lines[3:] {
		r, err := parseRow(line)
		if err != nil {
			return State{}, errors.Wrapf(err, "parse %q", line)
		}
		if k := len(s.rows); k > 0 && r.ID <= s.rows[k-1].ID {
			return State{}, errors.Newf("member %d is out of order", r.ID)
		}
		s.rows = append(s.rows, r)
	}
	if _, digits, joined := strings.Cut(lines[2], " joined "); joined {
		if s.own, err = ParseIncarnation(digits); err != nil {
			return State{}, errors.Wrap(err, "parse the self line")
		}
	} else if own := s.row(s.self); own != nil {
		s.own = own.incarnation
	}
	if s.own == (transport.Incarnation{}) {
		return State{}, errors.New("the file does not say whose memory it is")
	}
	if !bytes.Equal(s.Marshal(), raw) { // the scans above let spaces, capitals and trailing words pass
		return State{}, errors.New("the file is not written as this program writes it")
	}
	return s, nil
}

func parseRow(line string) (r row, err error) {
	var incarnation, word string
	if _, err := fmt.Sscanf(line, "member %d %s %s %s", &r.ID, &r.Name, &incarnation, &word); err != nil {
		return r, err
	}
	if !slices.Contains([]string{"complete", "met", "unmet"}, word) || (word == "unmet") != (incarnation == "-") {
		return r, errors.New("want complete, met or unmet")
	}
	r.complete = word == "complete"
	if word == "unmet" {
		return r, nil
	}
	r.incarnation, err = ParseIncarnation(incarnation)
	return r, err
}

// ParseIncarnation reads 32 hexadecimal digits that are not all zero.
func ParseIncarnation(s string) (i transport.Incarnation, err error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(i) {
		return i, errors.Newf("%q is not an incarnation: want %d hexadecimal digits", s, 2*len(i))
	}
	copy(i[:], raw)
	if i == (transport.Incarnation{}) {
		return i, errors.New("an incarnation is not zero")
	}
	return i, nil
}
