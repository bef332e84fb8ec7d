// Package codes checks the codes and simple values that financial messages are made of: currencies
// (ISO 4217), account numbers (ISO 13616, IBAN), identifiers of institutions (ISO 9362, BIC; ISO
// 17442, LEI; ABA routing numbers), securities (ISO 6166, ISIN) and payments (UETR), decimal
// amounts, dates and times.
//
// Every check is a pure function of a string. An error is one sentence without a subject that ends
// with what to do, so that a caller can put the name of a field in front of it.
package codes
