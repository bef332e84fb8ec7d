package xmltree

import "fmt"

// Code is why a document is refused. Codes are stable.
type Code string

// Reasons of an Error.
const (
	TooLarge           Code = "xml_too_large"           // more bytes than Limits.Bytes
	TooDeep            Code = "xml_too_deep"            // more elements inside each other
	TooManyElements    Code = "xml_too_many_elements"   // more elements
	TooManyAttributes  Code = "xml_too_many_attributes" // more attributes or prefixes
	Encoding           Code = "xml_encoding"            // not UTF-8, or not declared to be
	Character          Code = "xml_character"           // a character that XML 1.0 does not allow
	Doctype            Code = "xml_doctype"             // a document type declaration
	Entity             Code = "xml_entity"              // an entity that XML does not predefine
	Instruction        Code = "xml_instruction"         // a processing instruction
	DuplicateAttribute Code = "xml_duplicate_attribute" // one attribute twice on an element
	Namespace          Code = "xml_namespace"           // a prefix that is not declared, or misused
	Trailing           Code = "xml_trailing"            // something behind the root element
	Syntax             Code = "xml_syntax"              // not well formed in another way
)

// Error says why and where a document is refused. Text is one sentence or two, and the last one
// says what to do.
type Error struct {
	Code   Code
	Line   int // from 1
	Column int // in bytes, from 1
	Text   string
}

// Error returns the place and the text.
func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Text)
}
