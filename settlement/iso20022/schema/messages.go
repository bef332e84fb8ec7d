package schema

import (
	"slices"

	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// Message is what the tables know of one kind of message.
type Message struct {
	Definition string // whose schema the tables hold, as in "pacs.008.001.08"
	Body       string // local name of the element inside Document; of a header, its own
	Exact      bool   // the tables hold everything that the schema of Definition says
	typ        string
}

// messages are the messages of the tables.
var messages = []Message{
	{"camt.029.001.09", "RsltnOfInvstgtn", true, "ResolutionOfInvestigationV09"},
	{"camt.052.001.08", "BkToCstmrAcctRpt", true, "BankToCustomerAccountReportV08"},
	{"camt.053.001.08", "BkToCstmrStmt", true, "BankToCustomerStatementV08"},
	{"camt.054.001.08", "BkToCstmrDbtCdtNtfctn", true, "BankToCustomerDebitCreditNotificationV08"},
	{"camt.056.001.08", "FIToFIPmtCxlReq", true, "FIToFIPaymentCancellationRequestV08"},
	{"head.001.001.02", "AppHdr", true, "BusinessApplicationHeaderV02"},
	{"pacs.002.001.10", "FIToFIPmtStsRpt", true, "FIToFIPaymentStatusReportV10"},
	{"pacs.004.001.10", "PmtRtr", true, "PaymentReturnV10"},
	{"pacs.008.001.08", "FIToFICstmrCdtTrf", true, "FIToFICustomerCreditTransferV08"},
	{"pacs.009.001.08", "FICdtTrf", true, "FinancialInstitutionCreditTransferV08"},
	{"pacs.028.001.03", "FIToFIPmtStsReq", true, "FIToFIPaymentStatusRequestV03"},
	{"sese.023.001.12", "SctiesSttlmTxInstr", false, "SecuritiesSettlementTransactionInstructionV12"},
	{"sese.024.001.13", "SctiesSttlmTxStsAdvc", false, "SecuritiesSettlementTransactionStatusAdviceV13"},
	{"sese.025.001.12", "SctiesSttlmTxConf", false, "SecuritiesSettlementTransactionConfirmationV12"},
}

// Messages returns the messages that Check knows, in the order of their definitions.
func Messages() []Message { return slices.Clone(messages) }

// Lookup returns the message of a definition such as "pacs.008.001.08", of whatever version: the
// first eight characters decide. exact says that the tables hold that very version.
func Lookup(definition string) (m Message, exact, found bool) {
	for _, m := range messages {
		if len(definition) >= 8 && m.Definition[:8] == definition[:8] {
			return m, m.Exact && m.Definition == definition, true
		}
	}
	return Message{}, false, false
}

// Check compares the body of a message, or a header, with its schema: the version of the tables,
// exactly or leniently (see the package comment). It calls report for every problem until that
// returns false.
func (m Message) Check(body *xmltree.Element, exact bool, report func(Problem) (more bool)) {
	c := &checker{exact: exact, report: report}
	c.element(body, tables()[m.typ])
}
