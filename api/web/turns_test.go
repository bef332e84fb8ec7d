package web

import "testing"

// TestNetworkOf: a port does not matter, an IPv4 address counts in whatever form it comes, and an
// IPv6 address counts as its /64.
func TestNetworkOf(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7:1":                   "192.0.2.7",
		"192.0.2.7:65535":               "192.0.2.7",
		"[::ffff:192.0.2.7]:443":        "192.0.2.7",
		"192.0.2.8:1":                   "192.0.2.8",
		"[2001:db8:1:2::1]:1":           "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff:1:2:3]:500": "2001:db8:1:2::/64",
		"[2001:db8:1:3::1]:1":           "2001:db8:1:3::/64",
		"[fe80::1%eth0]:1":              "fe80::/64",
		"[::1]:1":                       "::/64",
		"@":                             "@",
		"":                              "",
	} {
		if got := NetworkOf(address); got != want {
			t.Errorf("%q counts as %q, want %q", address, got, want)
		}
	}
}
