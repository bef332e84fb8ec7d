// Package folder runs a gateway on folders: files come into one, and replies go into another.
//
//	in/NAME           a message that waits
//	in/done/NAME      a message that was carried out, at least in part
//	in/rejected/NAME  a message of which nothing was carried out
//	out/NAME.reply.xml, out/NAME.reply.txt  the reply
//	out/NAME.sese.025-INDEX-KEY.xml  what became of an instruction later, by entry of the ledger
//	in/open, in/closed  notes about instructions: see note
//
// # What it guarantees
//
//   - Every file ends in exactly one of done and rejected, and its reply exists exactly once. A second
//     file of a name that was used gets the name NAME~2, and so on.
//   - It may be killed at any moment, and the machine may lose power, if the disk keeps what it has
//     synced. The next run repeats what the last one did not finish: the ledger decides a transfer
//     once, and the reply is written over the same name. The order for each file is: the ledger
//     decides; the reply is written aside and synced; it gets its name; the folder out is synced;
//     the note of an instruction is made and synced; the file is moved; the folders under in are
//     synced.
//   - An instruction that settles after its message was answered is confirmed once for every entry that
//     settled it, or told to be cancelled.
//   - A reply is never seen in part.
//   - Files that are still being written are left: those with a temporary name, and those whose size
//     or time changes. A writer that uses a temporary name and renames the file at the end is safe.
//     One that pauses for longer than Quiet in the middle of a file is not.
//
// # What it assumes
//
// One process works on a folder: a lock sees to it where the system has flock. Nobody else writes
// into done, rejected and out; whoever reads replies may take them away. A reply that was taken
// away appears once more, the same as before, if the run ended between the reply and the move of
// its file.
//
// The smallest use:
//
//	f, err := folder.Open("in", "out", folder.Options{})
//	defer f.Close()
//	err = f.Run(ctx, gateway)
package folder
