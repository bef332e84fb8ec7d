package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/settlement/gateway"
)

// maxGatewayOptions is the largest file of options of the gateway, in bytes.
const maxGatewayOptions = 1 << 20

// gatewayFlags are the options of the gateway on the command line. A flag that is given goes before
// the file of --options.
type gatewayFlags struct {
	file     string
	given    gateway.Options
	accounts []string
	cmd      *cobra.Command
}

// identities are the flags that name messages.
func (g *gatewayFlags) identities(cmd *cobra.Command) {
	g.cmd = cmd
	f := cmd.Flags()
	f.StringVar(&g.file, "options", "", "YAML `file` of options: participant, rail, accounts and the others")
	f.StringVar(&g.given.Participant, "participant", "", "`name` of who sends the messages, as a part of their identities")
	f.StringVar(&g.given.Rail, "rail", "", "`name` of where they come from (default: "+gateway.DefaultRail+")")
	f.StringArrayVar(&g.given.Others, "other", nil, "`name` of a participant whose payments may be returned; may be repeated")
}

// mapping are the flags that say which accounts a message means.
func (g *gatewayFlags) mapping(cmd *cobra.Command) {
	g.cmd = cmd
	f := cmd.Flags()
	f.StringArrayVar(&g.accounts, "map", nil, "`NUMBER=ACCOUNT`: the account for an IBAN, a BIC or NUMBER/CURRENCY; may be repeated")
	f.BoolVar(&g.given.BetweenAgents, "between-agents", false, "pacs.008 moves money between the agents' accounts")
}

// timely are the flags about when a message may come.
func (g *gatewayFlags) timely(cmd *cobra.Command) {
	g.cmd = cmd
	f := cmd.Flags()
	f.StringVar(&g.given.BusinessDate, "business-date", "", "`date` with which settlement dates are compared, YYYY-MM-DD or today, UTC")
	f.StringVar(&g.given.CutOff, "cut-off", "", "`time` in UTC, as in 17:00, at which the business date ends")
	numberFlag(f, &g.given.MaxAge, "max-age", "", 0, 0, maxWait, "how old a message may be when it comes (0: any age)")
}

// carrying are all flags of what carries messages out.
func (g *gatewayFlags) carrying(cmd *cobra.Command) {
	g.identities(cmd)
	g.mapping(cmd)
	g.timely(cmd)
	f := cmd.Flags()
	f.BoolVar(&g.given.Reserve, "reserve", false, "reserve what pacs.008 and pacs.009 ask for; pacs.002 posts or voids it")
	numberFlag(f, &g.given.ReserveFor, "reserve-for", "", 0, 0, maxHold, "a reservation expires after this `duration` (0: never)")
}

// options returns the options of the file with those of the flags.
func (g *gatewayFlags) options() (gateway.Options, error) {
	var o gateway.Options
	if g.file != "" {
		raw, err := readFile(g.file, maxGatewayOptions)
		if err != nil {
			return o, fail(exitUsage, "", err)
		}
		if o, err = gateway.ReadOptions(raw); err != nil {
			return o, usagef("%s: %v", printable(g.file), err)
		}
	}
	for name, set := range map[string]func(){
		"participant": func() { o.Participant = g.given.Participant }, "rail": func() { o.Rail = g.given.Rail },
		"other": func() { o.Others = g.given.Others }, "between-agents": func() { o.BetweenAgents = g.given.BetweenAgents },
		"business-date": func() { o.BusinessDate = g.given.BusinessDate }, "cut-off": func() { o.CutOff = g.given.CutOff },
		"max-age": func() { o.MaxAge = g.given.MaxAge }, "reserve": func() { o.Reserve = g.given.Reserve },
		"reserve-for": func() { o.ReserveFor = g.given.ReserveFor },
	} {
		if f := g.cmd.Flags().Lookup(name); f != nil && f.Changed {
			set()
		}
	}
	for _, pair := range g.accounts {
		number, account, ok := strings.Cut(pair, "=")
		if !ok {
			return o, usagef("--map is NUMBER=ACCOUNT, not %s", printable(pair))
		}
		if o.Accounts == nil {
			o.Accounts = map[string]string{}
		}
		o.Accounts[number] = account
	}
	if o.Rail == "" {
		o.Rail = gateway.DefaultRail
	}
	return o, nil
}

// complete returns options with which a gateway can work.
func (g *gatewayFlags) complete() (gateway.Options, error) {
	o, err := g.options()
	if err != nil {
		return o, err
	}
	if o.Participant == "" {
		return o, usagef("--participant is required, here or as participant in the file of --options")
	}
	if err := o.Check(); err != nil {
		return o, usagef("%v", err)
	}
	return o, nil
}

// checkTimely checks the options about dates alone.
func checkTimely(o *gateway.Options) error {
	whole := *o
	whole.Participant, whole.Rail = "x", gateway.DefaultRail
	if err := whole.Check(); err != nil {
		return usagef("%v", err)
	}
	return nil
}

// statusWords says what a status of ISO 20022 means to a person.
func statusWords(code string) string {
	switch code {
	case "ACSC":
		return "settled"
	case "ACSP":
		return "reserved"
	case "CANC":
		return "cancelled"
	case "RJCT":
		return "rejected"
	case "Umtchd":
		return "unmatched"
	case "Pdg":
		return "pending"
	case "Settled":
		return "settled"
	case "Canc":
		return "cancelled"
	case "Rjctd":
		return "rejected"
	case "":
		return "unknown"
	}
	return code
}
