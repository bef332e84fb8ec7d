package codes

import "github.com/cockroachdb/errors"

// BIC checks the shape of a business identifier code (ISO 9362): four characters of the party, two
// letters of the country, two of the party's suffix, and three of a branch or none.
func BIC(s string) error {
	if len(s) != 8 && len(s) != 11 || !upperOrDigits(s) || !upper(s[4:6]) {
		return errors.Newf("is %q, not a BIC: write 8 or 11 capital letters and digits, with the country as the 5th and 6th", s)
	}
	return nil
}

// LEI checks shape and check digits of a legal entity identifier (ISO 17442).
func LEI(s string) error {
	if len(s) != 20 || !upperOrDigits(s) || !digits(s[18:]) {
		return errors.Newf("is %q, not an LEI: write 18 capital letters and digits and two check digits", s)
	}
	if mod97(s) != 1 {
		return errors.Newf("is %q, whose check digits %s do not fit: correct the LEI", s, s[18:])
	}
	return nil
}

// ISIN checks shape and check digit of a securities identification number (ISO 6166).
func ISIN(s string) error {
	if len(s) != 12 || !upper(s[:2]) || !upperOrDigits(s) || !digits(s[11:]) {
		return errors.Newf("is %q, not an ISIN: write two letters, nine capital letters and digits and a check digit", s)
	}
	// Letters become two digits; from the right, every second digit counts twice (Luhn).
	expanded := make([]int, 0, 24)
	for i := range len(s) {
		if c := s[i]; isDigit(c) {
			expanded = append(expanded, int(c-'0'))
		} else {
			expanded = append(expanded, 1+int(c-'A')/10, int(c-'A')%10)
		}
	}
	sum := 0
	for i, d := range expanded {
		if (len(expanded)-i)%2 == 0 {
			d *= 2
		}
		sum += d/10 + d%10
	}
	if sum%10 != 0 {
		return errors.Newf("is %q, whose check digit %s does not fit: correct the ISIN", s, s[11:])
	}
	return nil
}

// ABA checks shape and check digit of a routing number of the American Bankers Association.
func ABA(s string) error {
	if len(s) != 9 || !digits(s) {
		return errors.Newf("is %q, not an ABA routing number: write 9 digits", s)
	}
	sum := 0
	for i, weight := range []int{3, 7, 1, 3, 7, 1, 3, 7, 1} {
		sum += weight * int(s[i]-'0')
	}
	if sum == 0 || sum%10 != 0 {
		return errors.Newf("is %q, whose check digit %s does not fit: correct the routing number", s, s[8:])
	}
	return nil
}

// UETR checks the shape of a unique end-to-end transaction reference: a UUID of version 4 in lower
// case.
func UETR(s string) error {
	ok := len(s) == 36
	for i := 0; ok && i < len(s); i++ {
		switch c := s[i]; i {
		case 8, 13, 18, 23:
			ok = c == '-'
		case 14:
			ok = c == '4'
		case 19:
			ok = c == '8' || c == '9' || c == 'a' || c == 'b'
		default:
			ok = isDigit(c) || c >= 'a' && c <= 'f'
		}
	}
	if !ok {
		return errors.Newf("is %q, not a UETR: write a UUID of version 4 in lower case", s)
	}
	return nil
}
