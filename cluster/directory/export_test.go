package directory

var (
	EncodeRecord = encodeRecord
	ParseRecord  = parseRecord
	ParseNode    = parseNode
)

func EncodeNode(n *Node) []byte { return n.encode() }
