package directory

var (
	EncodeRecord = encodeRecord
	ParseRecord  = parseRecord
)
