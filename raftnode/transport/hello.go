package transport

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"time"

	"github.com/cockroachdb/errors"
)

// MaxMembers bounds the members in an introduction.
const MaxMembers = 64

const (
	helloSize  = 56 // without the members
	memberSize = 32
	maxHello   = helloSize + MaxMembers*memberSize

	flagComplete = 1
)

// Incarnation names one data directory: 128 random bits that were drawn when the directory was
// made. Zero is no incarnation.
type Incarnation [16]byte

// String returns 32 hexadecimal digits.
func (i Incarnation) String() string { return hex.EncodeToString(i[:]) }

// Acquaintance is what a node knows about one member.
type Acquaintance struct {
	ID NodeID
	// Incarnation is that of the member's data directory; zero as long as the node has not heard of
	// it.
	Incarnation Incarnation
	// Complete: the member remembers durably the same incarnation of every member as the sender.
	Complete bool
}

// Introduction is what a node says about itself in a hello.
type Introduction struct {
	Cluster     uint64
	Incarnation Incarnation // of the sender's data directory; zero in an inquiry
	// FeatureLevel is the newest feature level that the sender's program knows.
	FeatureLevel uint32
	Members      []Acquaintance // every member in ascending order of IDs, the sender included
}

// Membership decides with whom messages are exchanged. Its methods are called concurrently. Meet
// may wait for the disk. The others must be quick.
type Membership interface {
	// Introduce returns what this node says about itself. The disk holds all of it already.
	Introduce() Introduction
	// Meet learns from the introduction of the authenticated member peer, durably. changed says
	// that Introduce returns more than before. After an error no message of peer is taken, and none
	// is sent to it.
	Meet(peer NodeID, in Introduction) (changed bool, err error)
	// Formed says whether this node exchanges messages at all. Once true it stays true.
	Formed() bool
}

// ErrRefused is matched by errors about a connection whose two ends are authenticated and do not
// want each other. Trying again soon does not help.
var ErrRefused = errors.New("connection refused by the rules of membership")

// hello is the first frame in both directions. The accepting side answers in the class of the
// dialling side. On a control connection the dialling side says hello again when it knows more.
type hello struct {
	class    class
	from, to NodeID
	Introduction
}

func (h hello) appendFrame(dst []byte) []byte {
	start := len(dst)
	dst = appendHeader(dst, kindHello, 0, helloSize+len(h.Members)*memberSize)
	dst = append(dst, byte(h.class), 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, h.FeatureLevel)
	dst = binary.LittleEndian.AppendUint64(dst, h.from)
	dst = binary.LittleEndian.AppendUint64(dst, h.to)
	dst = binary.LittleEndian.AppendUint64(dst, h.Cluster)
	dst = append(dst, h.Incarnation[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(h.Members)))
	for _, m := range h.Members {
		dst = binary.LittleEndian.AppendUint64(dst, m.ID)
		dst = append(dst, m.Incarnation[:]...)
		flags := uint64(0)
		if m.Complete {
			flags |= flagComplete
		}
		dst = binary.LittleEndian.AppendUint64(dst, flags)
	}
	sealFrame(dst[start:])
	return dst
}

func parseHello(h header, payload []byte) (hello, error) {
	if h.kind != kindHello || h.group != 0 || len(payload) < helloSize {
		return hello{}, malformed("first frame is not a hello")
	}
	out := hello{
		class: class(payload[0]),
		from:  binary.LittleEndian.Uint64(payload[8:]),
		to:    binary.LittleEndian.Uint64(payload[16:]),
	}
	out.FeatureLevel = binary.LittleEndian.Uint32(payload[4:])
	out.Cluster = binary.LittleEndian.Uint64(payload[24:])
	copy(out.Incarnation[:], payload[32:])
	if out.class != classControl && out.class != classBulk && out.class != classInquiry {
		return hello{}, malformed("unknown connection class %d", payload[0])
	}
	for _, b := range payload[1:4] {
		if b != 0 {
			return hello{}, malformed("reserved hello bytes are not zero")
		}
	}
	n := binary.LittleEndian.Uint64(payload[48:])
	if n > MaxMembers || len(payload) != helloSize+int(n)*memberSize {
		return hello{}, malformed("hello of %d bytes says that it has %d members", len(payload), n)
	}
	for b := payload[helloSize:]; len(b) > 0; b = b[memberSize:] {
		m := Acquaintance{ID: binary.LittleEndian.Uint64(b)}
		copy(m.Incarnation[:], b[8:])
		flags := binary.LittleEndian.Uint64(b[24:])
		if flags&^flagComplete != 0 {
			return hello{}, malformed("unknown flags %#x of member %d", flags, m.ID)
		}
		m.Complete = flags&flagComplete != 0
		if k := len(out.Members); m.ID == 0 || k > 0 && m.ID <= out.Members[k-1].ID {
			return hello{}, malformed("member %d of a hello is out of order", m.ID)
		}
		out.Members = append(out.Members, m)
	}
	return out, nil
}

// readHello reads a hello from the member from to the node to.
func readHello(r io.Reader, from, to NodeID) (hello, error) {
	h, payload, err := readFrame(r, maxHello)
	if err != nil {
		return hello{}, errors.Wrap(err, "read hello")
	}
	hi, err := parseHello(h, payload)
	if err != nil {
		return hello{}, err
	}
	if hi.from != from || hi.to != to {
		return hello{}, malformed("node %d says hello as node %d to node %d", from, hi.from, hi.to)
	}
	return hi, nil
}

// greet is the dialling side of the exchange of hellos.
func greet(conn net.Conn, c class, self, peer NodeID, in Introduction, deadline time.Time) (Introduction, error) {
	if err := conn.SetDeadline(deadline); err != nil {
		return Introduction{}, errors.Wrap(err, "set deadline")
	}
	if _, err := conn.Write(hello{c, self, peer, in}.appendFrame(nil)); err != nil {
		return Introduction{}, errors.Wrap(err, "say hello")
	}
	answer, err := readHello(conn, peer, self)
	if err != nil {
		return Introduction{}, errors.Wrap(err, "wait for the answer to hello")
	}
	if answer.class != c {
		return Introduction{}, malformed("%s hello was answered with a %s one", c, answer.class)
	}
	return answer.Introduction, errors.Wrap(conn.SetDeadline(time.Time{}), "clear deadline")
}

// Inquire asks the member peer, which the connection is authenticated for, what it knows about the
// members. The asking node does not introduce itself, so peer remembers nothing of it. ctx must
// have a deadline.
func Inquire(ctx context.Context, conn net.Conn, cluster uint64, self, peer NodeID) (Introduction, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return Introduction{}, errors.AssertionFailedf("inquiry without a deadline")
	}
	return greet(conn, classInquiry, self, peer, Introduction{Cluster: cluster}, deadline)
}
