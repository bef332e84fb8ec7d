package xmltree

// Limits bound what a document may cost. A field that is zero or less means the default.
//
// A tree takes as much memory as its document, 150 bytes for each element and 64 for each
// attribute. While it is read, Parse allocates at most 20 times Bytes.
type Limits struct {
	Bytes      int // size of the document, 10 MiB by default
	Depth      int // elements inside each other, 64 by default
	Elements   int // elements of the document, 400,000 by default
	Attributes int // attributes of the document with namespace declarations, 100,000 by default
}

// Defaults of Limits.
const (
	DefaultBytes      = 10 << 20
	DefaultDepth      = 64
	DefaultElements   = 400_000
	DefaultAttributes = 100_000
)

// maxAttributes is the largest number of attributes of one element, and maxBindings the largest
// number of namespace prefixes that are declared at one place. They keep the comparisons of each
// with each cheap.
const (
	maxAttributes = 64
	maxBindings   = 64
)

func (l Limits) withDefaults() Limits {
	or := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	or(&l.Bytes, DefaultBytes)
	or(&l.Depth, DefaultDepth)
	or(&l.Elements, DefaultElements)
	or(&l.Attributes, DefaultAttributes)
	return l
}
