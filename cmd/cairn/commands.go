package main

import "github.com/spf13/cobra"

// addCommands builds the tree of commands.
func (a *app) addCommands(add func(group string, commands ...*cobra.Command)) {
	add(groupLedger, a.appendCommand(), a.getCommand(), a.logCommand(), a.headCommand(), a.receiptCommand(), a.settleCommand())
	add(groupVerify, a.verifyCommand(), a.auditCommand(), a.consistencyCommand(), a.evidenceCommand(), a.policyCommand())
	add(groupOperate, a.demoCommand(), a.clusterCommand(), a.nodeCommand(), a.signerCommand(), a.statusCommand(), a.topCommand(), a.moveLeaderCommand(), a.pkiCommand(),
		a.ledgerCommand(), a.memberCommand(), a.backupCommand(), a.restoreCommand(), a.inspectCommand(), a.benchCommand())
}

// needsSubcommand is for commands that only group others: called alone they are
// a usage error, not a silent success.
func needsSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return failf(exitUsage, "see `"+cmd.CommandPath()+" --help`", "unknown command %q for %q", args[0], cmd.CommandPath())
	}
	return failf(exitUsage, "see `"+cmd.CommandPath()+" --help`", "%q needs a command", cmd.CommandPath())
}
