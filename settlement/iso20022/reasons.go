package iso20022

// Reason codes of the external code set ExternalStatusReason1Code that findings carry.
const (
	codeAccount         = "AC01" // account number invalid or missing
	codeDebtorAccount   = "AC02" // debtor account number invalid or missing
	codeCreditorAccount = "AC03" // creditor account number invalid or missing
	codeZeroAmount      = "AM01" // amount is zero
	codeWrongAmount     = "AM09" // amount is not the one expected
	codeDuplicate       = "AM05" // duplication, or a copy
	codeControlSum      = "AM10" // sum of amounts is not the control sum
	codeCurrency        = "AM11" // currency invalid or missing
	codeAmount          = "AM12" // amount invalid or missing
	codeGroupCount      = "AM19" // number of transactions of the group invalid or missing
	codeContent         = "CH16" // content formally incorrect
	codeNotAllowed      = "CH17" // element not allowed
	codeDecimals        = "CH20" // decimals not compatible with the currency
	codeMissing         = "CH21" // required element missing
	codeDate            = "DT01" // date invalid or missing
	codeCreationDate    = "DT02" // creation date and time invalid or missing
	codeDuplicateEnd    = "DU04" // end-to-end identification not unique
	codeDuplicateTx     = "DU03" // transaction not unique
	codeFuture          = "DT04" // future date not supported
	codeFile            = "FF01" // file format incomplete or invalid
	codeBIC             = "RC01" // bank identifier incorrect
	codeDebtorBank      = "RC03" // debtor bank identifier invalid or missing
	codeCreditorBank    = "RC04" // creditor bank identifier invalid or missing
	codeReference       = "RF01" // transaction reference not unique within the message
	codeCutOff          = "TM01" // cut-off time passed
)
