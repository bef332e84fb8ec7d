package codes

import "strings"

// NoScale is the Scale of a currency that has no minor unit: gold, the code for tests, the code
// for no currency.
const NoScale = -1

// byScale holds the active codes of ISO 4217, as of January 2026, by the number of their decimals.
var byScale = map[int]string{
	0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
	2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE " +
		"CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD " +
		"HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK " +
		"MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD " +
		"RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH " +
		"USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG",
	3:       "BHD IQD JOD KWD LYD OMR TND",
	4:       "CLF UYW",
	NoScale: "XAG XAU XBA XBB XBC XBD XDR XPD XPT XSU XTS XUA XXX",
}

// withdrawn are codes that ISO 4217 has withdrawn in recent years. Statements about the past still
// hold them.
var withdrawn = map[string]int{
	"ANG": 2, "BGN": 2, "BYR": 0, "CUC": 2, "EEK": 2, "HRK": 2, "LTL": 2, "LVL": 2, "MRO": 2, "SLL": 2, "STD": 2,
	"VEF": 2, "ZWL": 2,
}

// Currency is a currency of ISO 4217.
type Currency struct {
	Code      string // three letters
	Scale     int    // number of decimals, or NoScale
	Withdrawn bool   // no longer in use: nothing new is settled in it
}

var currencies = func() map[string]Currency {
	all := make(map[string]Currency, 200)
	for scale, codes := range byScale {
		for code := range strings.FieldsSeq(codes) {
			all[code] = Currency{Code: code, Scale: scale}
		}
	}
	for code, scale := range withdrawn {
		all[code] = Currency{Code: code, Scale: scale, Withdrawn: true}
	}
	return all
}()

// LookupCurrency returns the currency with this code, in capital letters, and whether ISO 4217
// has it.
func LookupCurrency(code string) (Currency, bool) {
	c, found := currencies[code]
	return c, found
}
