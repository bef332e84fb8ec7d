package iso20022

import "github.com/cairnledger/cairn/settlement/iso20022/codes"

// Reason codes of sese.024 (RejectionReason), which findings about sese.023 carry.
const (
	securityAccount    = "SAFE" // safekeeping account
	securityInstrument = "DSEC" // financial instrument
	securityQuantity   = "DQUA" // quantity
	securityMoney      = "DMON" // settlement amount
	securityDate       = "DDAT" // settlement date
	securityTradeDate  = "DTRD" // trade date
	securityParties    = "DEPT" // depository or settlement parties
)

// securities checks a settlement instruction for securities.
func (l *linter) securities() {
	s, body := l.message.Securities, l.env.body
	account := body.Child("QtyAndAcctDtls")
	security := body.Child("FinInstrmId")
	if s.ISIN == "" && s.OtherID == "" && security != nil {
		l.add(Error, "security_missing", securityInstrument, security, "ISIN", "ISIN is missing: say which security it is")
	}
	if s.QuantityKind != "" {
		q := account.At("SttlmQty", "Qty", s.QuantityKind)
		d, err := codes.ParseDecimal(s.Quantity)
		if err == nil && d.Sign() <= 0 && !l.flagged[q] {
			l.add(Error, "quantity_zero", securityQuantity, q, "", "%s is %s: write the quantity that is to be delivered", q.Name, s.Quantity)
		}
	}
	if s.SafekeepingAccount == "" && account != nil {
		l.add(Error, "account_missing", securityAccount, account, "SfkpgAcct", "SfkpgAcct is missing: say which account delivers or receives")
	}
	l.securityPayment()
	l.securityDates()
	chain, name := s.Receiving, "RcvgSttlmPties"
	if s.Movement == "RECE" {
		chain, name = s.Delivering, "DlvrgSttlmPties"
	}
	if len(chain.Parties) == 0 {
		l.add(Error, "counterparty_missing", securityParties, body, name, "%s has no Pty1: name the counterparty", name)
	}
}

// securityPayment compares the payment with the kind of instruction.
func (l *linter) securityPayment() {
	s, body := l.message.Securities, l.env.body
	amount := body.Child("SttlmAmt")
	switch {
	case s.Payment == "APMT" && amount == nil:
		l.add(Error, "amount_missing", securityMoney, body, "SttlmAmt", "SttlmAmt is missing, but Pmt is APMT: add the amount or instruct free of payment")
	case s.Payment == "FREE" && amount != nil:
		l.add(Warning, "amount_unused", securityMoney, amount, "", "SttlmAmt is given, but Pmt is FREE: nothing is paid, remove it")
	case amount != nil && s.Side != "":
		want := map[string]string{"DELI": "CRDT", "RECE": "DBIT"}[s.Movement]
		if want != "" && s.Side != want {
			l.add(Error, "amount_side", securityMoney, amount.Child("CdtDbtInd"), "", "CdtDbtInd is %.40s, but an instruction with SctiesMvmntTp %s "+
				"against payment has %s: correct one of the two", s.Side, s.Movement, want)
		}
	}
}

// securityDates compares trade date, settlement date and business date.
func (l *linter) securityDates() {
	s, trade := l.message.Securities, l.env.body.Child("TradDtls")
	day := func(text string) string {
		if len(text) >= len("2026-11-30") {
			if _, err := codes.ParseDate(text[:10]); err == nil {
				return text[:10]
			}
		}
		return ""
	}
	settles, traded := day(s.SettlementDate), day(s.TradeDate)
	if settles != "" && traded > settles {
		l.add(Error, "trade_date_later", securityTradeDate, trade.Child("TradDt"), "", "TradDt is %s, after the settlement date %s: correct one of the two",
			traded, settles)
	}
	today := day(l.rules.Today)
	if settles == "" || today == "" {
		return
	}
	e := trade.Child("SttlmDt")
	date, _ := codes.ParseDate(settles)
	now, _ := codes.ParseDate(today)
	if ahead := int(date.Sub(now).Hours() / 24); l.rules.MaxDaysAhead > 0 && ahead > l.rules.MaxDaysAhead {
		l.add(Error, "settlement_date_future", securityDate, e, "", "SttlmDt is %s, %d days ahead; at most %d are allowed: send it later",
			settles, ahead, l.rules.MaxDaysAhead)
	}
}
