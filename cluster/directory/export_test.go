package directory

var (
	ParseCommand = parseCommand
	EncodeRecord = encodeRecord
	ParseRecord  = parseRecord
)
