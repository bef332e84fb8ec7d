package iso20022

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// Identity names a transaction of a message, so that it is carried out exactly once however often
// the message comes. The UETR alone does not: senders use one UETR for a payment, its cover and its
// return, and some use one for several payments. The message identification alone does not either:
// it is the sender's, and of one kind of message.
type Identity struct {
	Participant string // who sent the message, as the caller knows it, not as the message says
	Rail        string // where the message came from
	Type        string // kind of message, as in "pacs.008"
	Message     string // Message.ID; of sese.023 its TxId
	// Transaction is an identification with its kind, as in "TxId=A-1", or the position in the
	// message, as in "#2", for a transaction that has none.
	Transaction string
}

// notProvided stands where an end-to-end identification is required and there is none.
const notProvided = "NOTPROVIDED"

// Identify returns the identity of every transaction, in the order of Message.Transactions; of
// sese.023 that of its one instruction; of a cancellation or return of whole groups those of the
// groups behind. Lint refuses messages in which two are equal.
func (m *Message) Identify(participant, rail string) []Identity {
	var all []Identity
	add := func(transaction string) {
		all = append(all, Identity{participant, rail, m.Type(), m.ID, transaction})
	}
	for i := range m.Transactions {
		add(m.Transactions[i].identification(i))
	}
	for i, g := range m.Groups {
		if isTrue(g.Whole) {
			add(firstOf(i, "Group=", g.OwnID, "OrgnlMsgId=", g.Original.MessageID))
		}
	}
	if m.Securities != nil {
		// TxId alone is the identity: the header, and with it its identification, changes when the same
		// instruction is sent again.
		id := m.Securities.TransactionID
		all = append(all, Identity{participant, rail, m.Type(), id, firstOf(0, "TxId=", id)})
	}
	return all
}

// identification returns the identification that a transaction has for this message: its own, of
// returns and the like; else the sender's.
func (t *Transaction) identification(index int) string {
	endToEnd := t.EndToEndID
	if endToEnd == notProvided {
		endToEnd = ""
	}
	return firstOf(index, "OwnId=", t.OwnID, "TxId=", t.TransactionID, "InstrId=", t.InstructionID, "EndToEndId=", endToEnd,
		"OrgnlTxId=", t.Original.TransactionID, "OrgnlInstrId=", t.Original.InstructionID)
}

// firstOf returns the first value that is not empty with its kind before it, else the position.
func firstOf(index int, kindsAndValues ...string) string {
	for i := 0; i < len(kindsAndValues); i += 2 {
		if v := kindsAndValues[i+1]; v != "" {
			return kindsAndValues[i] + v
		}
	}
	return "#" + strconv.Itoa(index+1)
}

// maxKey is the longest Key in bytes: the longest identifier of the settlement program.
const maxKey = 200

// LongKey is what a Key that would be too long begins with.
const LongKey = "sha256:"

// Key writes an identity as 1 to 200 bytes of printable ASCII without a space. Different
// identities have different keys: the parts are joined by "/", with other bytes than letters,
// digits and "-._#=" as "%" and two hexadecimal digits. What would be longer is "sha256:", the hash of
// that up to the message, "/", and the hash of all of it, so that all transactions of a message begin
// alike.
func (i Identity) Key() string {
	message := i.message()
	key := message + "/" + escape(i.Transaction)
	if len(key) <= maxKey {
		return key
	}
	return longKey(message) + hash(key)
}

// Prefixes returns how the keys of the transactions of the message begin, whatever Transaction is.
func (i Identity) Prefixes() []string {
	message := i.message()
	if len(message) >= maxKey {
		return []string{longKey(message)}
	}
	return []string{message + "/", longKey(message)}
}

func longKey(message string) string { return LongKey + hash(message) + "/" }

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// message writes the identity without the transaction.
func (i Identity) message() string {
	return escape(i.Participant) + "/" + escape(i.Rail) + "/" + escape(i.Type) + "/" + escape(i.Message)
}

func escape(part string) string {
	var b strings.Builder
	for k := range len(part) {
		c := part[k]
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', strings.IndexByte("-._#=", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteString(strings.ToUpper(hex.EncodeToString([]byte{c})))
		}
	}
	return b.String()
}

// appendSaid appends what an element says: names, attributes and texts, without prefixes, comments
// and white space around texts. Every part is preceded by its length, so that two elements give the
// same bytes only if they say the same. The recursion is as deep as the document.
func appendSaid(b []byte, e *xmltree.Element) []byte {
	b = appendText(b, e.Space)
	b = appendText(b, e.Name)
	b = appendText(b, e.String())
	var attrs []xmltree.Attr
	for _, a := range e.Attrs {
		if a.Space == "" {
			attrs = append(attrs, a) // the others, such as xsi:schemaLocation, say nothing
		}
	}
	slices.SortFunc(attrs, func(a, b xmltree.Attr) int { return strings.Compare(a.Name, b.Name) })
	b = binary.AppendUvarint(b, uint64(len(attrs)))
	for _, a := range attrs {
		b = appendText(b, a.Name)
		b = appendText(b, a.Value)
	}
	b = binary.AppendUvarint(b, uint64(len(e.Children)))
	for _, c := range e.Children {
		b = appendSaid(b, c)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// fingerprint hashes what an element says. It uses the reader's buffer.
func (d *reader) fingerprint(e *xmltree.Element) [32]byte {
	d.buffer = appendSaid(d.buffer[:0], e)
	return sha256.Sum256(d.buffer)
}

// isTrue reads a boolean of XML Schema.
func isTrue(s string) bool { return s == "true" || s == "1" }
