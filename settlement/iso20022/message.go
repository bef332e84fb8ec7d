package iso20022

// Message is what Decode read from one ISO 20022 message. A field that the message does not have is
// "". Texts are without white space at their ends; amounts, dates and times are as the message
// wrote them.
type Message struct {
	Definition string  // identifier of the message definition, as in "pacs.008.001.08"
	Header     *Header // business application header, nil for none
	// Fingerprint is a SHA-256 hash of what Document says: of two messages with equal identities,
	// those with equal fingerprints are the same message again, whatever their white space, prefixes,
	// comments and headers.
	Fingerprint [32]byte

	ID      string // MsgId; Assgnmt/Id of camt.056; of sese.023 the header's BizMsgIdr, else TxId
	Created string // CreDtTm; of sese.023 the header's CreDt

	// Instructing and Instructed are the agents of the group header, or assigner and assignee of
	// camt.056, or sender and receiver of sese.023's header.
	Instructing, Instructed Party

	Count            string // NbOfTxs
	ControlSum       string // CtrlSum
	Total            Amount // TtlIntrBkSttlmAmt or TtlRtrdIntrBkSttlmAmt
	SettlementDate   string // IntrBkSttlmDt of the group
	SettlementMethod string // SttlmMtd: INDA, INGA, COVE or CLRG
	ClearingSystem   string // ClrSys, its code or proprietary name

	Groups       []Group                // original messages as a whole that this one is about
	Transactions []Transaction          // in the order of the message
	Securities   *SecuritiesInstruction // of sese.023, else nil
}

// Type returns the kind of message without variant and version, as in "pacs.008".
func (m *Message) Type() string { return m.Definition[:len("pacs.008")] }

// Header is a business application header (head.001).
type Header struct {
	Definition        string // as in "head.001.001.02"
	From, To          Party
	ID                string // BizMsgIdr
	MessageDefinition string // MsgDefIdr
	Service           string // BizSvc
	Created           string // CreDt
	CopyDuplicate     string // CpyDplct: CODU, COPY or DUPL
	PossibleDuplicate string // PssblDplct, as written
	Priority          string // Prty
}

// Party is an institution, a debtor, a creditor or another party.
type Party struct {
	Name         string
	BIC          string // BICFI, BIC, AnyBIC or BICOrBEI
	LEI          string
	ClearingID   string // MmbId in a clearing system
	ClearingCode string // the clearing system of ClearingID, its code or proprietary name
	Other        string // the first other identification
	OtherIssuer  string // who issued Other
	Branch       string // identification of a branch
	Country      string // of residence, else of the address
}

// ID returns what names the party best: BIC, clearing identification, LEI, another identification
// or the name.
func (p Party) ID() string {
	for _, id := range []string{p.BIC, p.ClearingID, p.LEI, p.Other} {
		if id != "" {
			return id
		}
	}
	return p.Name
}

// Account is a cash account: an IBAN or another identification.
type Account struct {
	IBAN     string
	Other    string
	Scheme   string // of Other: code or proprietary name
	Currency string
	Proxy    string // stands for the account, such as a telephone number
}

// ID returns the IBAN, else the other identification.
func (a Account) ID() string {
	if a.IBAN != "" {
		return a.IBAN
	}
	return a.Other
}

// Amount is a decimal number as the message wrote it, and its currency.
type Amount struct {
	Value    string
	Currency string
}

// Reason is why a payment was returned, rejected or is to be cancelled.
type Reason struct {
	Code        string   // of an external ISO 20022 code set
	Proprietary string   // instead of Code
	Originator  Party    // who gives the reason
	Additional  []string // AddtlInf
}

// Original identifies a message that came before, and where it is about one transaction, that.
type Original struct {
	MessageID         string // OrgnlMsgId
	MessageName       string // OrgnlMsgNmId
	Created           string // OrgnlCreDtTm
	InstructionID     string // OrgnlInstrId
	EndToEndID        string // OrgnlEndToEndId
	TransactionID     string // OrgnlTxId
	UETR              string // OrgnlUETR
	ClearingReference string // OrgnlClrSysRef
	Settlement        Amount // OrgnlIntrBkSttlmAmt, else that of OrgnlTxRef
	SettlementDate    string // OrgnlIntrBkSttlmDt, else that of OrgnlTxRef
}

// Group is an original message as a whole: its status, or the wish to cancel or return it.
type Group struct {
	OwnID      string // GrpCxlId
	Original   Original
	Count      string // OrgnlNbOfTxs, or NbOfTxs of a cancellation
	ControlSum string // OrgnlCtrlSum, or CtrlSum of a cancellation
	Status     string // GrpSts of pacs.002
	Whole      string // GrpCxl of camt.056 or GrpRtr of pacs.004, as written
	Reasons    []Reason
	PerStatus  []PerStatus
	Path       string // of its element
	Line       int    // of its element
}

// PerStatus is how many transactions of a group have a status.
type PerStatus struct {
	Status, Count, ControlSum string
}

// Transaction is one payment, return, status or cancellation of a message.
type Transaction struct {
	// OwnID is what the message itself calls this transaction: RtrId of pacs.004, StsId of pacs.002,
	// StsReqId of pacs.028, CxlId of camt.056.
	OwnID             string
	InstructionID     string // InstrId
	EndToEndID        string // EndToEndId
	TransactionID     string // TxId
	UETR              string
	ClearingReference string // ClrSysRef

	Settlement     Amount // IntrBkSttlmAmt or RtrdIntrBkSttlmAmt
	SettlementDate string // IntrBkSttlmDt, of the transaction, else of the group
	InstructedSum  Amount // InstdAmt or RtrdInstdAmt
	Priority       string // SttlmPrty
	ChargeBearer   string // ChrgBr

	Instructing, Instructed                  Party // of the transaction, else of the group
	Debtor, Creditor                         Party // of pacs.009 institutions; of a return those of the return
	DebtorAgent, CreditorAgent               Party
	DebtorAccount, CreditorAccount           Account
	DebtorAgentAccount, CreditorAgentAccount Account

	Purpose           string   // code or proprietary name
	Remittance        []string // unstructured
	CreditorReference string   // the first of the structured remittance information

	Original         Original // of returns, status reports and requests, and cancellations
	Status           string   // TxSts of pacs.002
	AccountReference string   // AcctSvcrRef of pacs.002
	Effective        string   // FctvIntrBkSttlmDt of pacs.002
	Reasons          []Reason

	Fingerprint [32]byte // of its element, as in Message
	Path        string   // of its element, as in "/Document/FIToFICstmrCdtTrf/CdtTrfTxInf[2]"
	Line        int      // of its element
}

// SecuritiesInstruction is a settlement instruction of sese.023.
type SecuritiesInstruction struct {
	TransactionID  string // TxId
	Movement       string // DELI or RECE
	Payment        string // APMT or FREE
	CommonID       string // CmonId
	Links          []Link
	TradeIDs       []string
	TradeDate      string // a date, a date and time, or a code
	SettlementDate string // a date, a date and time, or a code

	ISIN         string
	OtherID      string // the first other identification of the security
	Quantity     string
	QuantityKind string // Unit, FaceAmt, AmtsdVal or DgtlTknUnit

	Owner              Party
	SafekeepingAccount string
	CashAccount        Account

	Hold        string // HldInd/Ind, as written
	Priority    string // Nmrc of Prty: four digits, 0001 first
	Partial     string // PrtlSttlmInd: NPAR, PART, PARC or PARQ
	Transaction string // SctiesTxTp, its code or proprietary name

	Delivering, Receiving SettlementChain
	Settlement            Amount
	Side                  string // CdtDbtInd of the amount, for the account owner: CRDT or DBIT

	Path string // of its element
	Line int    // of its element
}

// Link is a transaction that an instruction is linked to.
type Link struct {
	Position  string // BEFO, AFTE, WITH or INFO
	Kind      string // local name of the reference, as in SctiesSttlmTxId
	Reference string
}

// SettlementChain is the depository and the parties of one side, nearest to the depository first.
type SettlementChain struct {
	Depository Party
	Parties    []SettlementParty
}

// SettlementParty is a party of a chain with its account.
type SettlementParty struct {
	Party
	Account      string // SfkpgAcct
	ProcessingID string // PrcgId
}
