// Package xmltree reads an XML document that a stranger sent into a small tree of elements.
//
// # What it guarantees
//
//   - Parse is a pure function of its arguments. It needs memory in proportion to the document,
//     bounded by Limits, and time in proportion to the document; it does not recurse.
//   - Names are resolved: an element has a namespace name and a local name, whatever prefixes the
//     document uses.
//   - Every element knows its line and column, so that a finding can say where.
//   - What is refused is refused with an *Error, whose text says what to do.
//
// # What it accepts
//
// XML 1.0 with Namespaces 1.0 in UTF-8, with or without a byte order mark, less everything that
// makes XML dangerous or that no ISO 20022 message needs: a document type declaration, entities
// other than the five that XML predefines, processing instructions. Comments are skipped, CDATA
// sections are text. Within this subset Parse refuses whatever is not well formed.
//
// encoding/xml is not used because it resolves prefixes only in part (golang.org/issue/13400),
// takes duplicate attributes and content behind the root element, and allocates all attributes of
// an element before it can be told to stop.
//
// The smallest use:
//
//	doc, err := xmltree.Parse(raw, xmltree.Limits{})
//	id := doc.Child("GrpHdr").Child("MsgId").String()
package xmltree
