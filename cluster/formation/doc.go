// Package formation decides with which data directories the members of a cluster take part in Raft.
//
// # The fault that it prevents
//
// Raft counts votes and acknowledgements by member. A member whose data directory was lost and made
// anew has forgotten both. Three members, n3 down: an entry is acknowledged by n1 and n2. n2 loses
// its disk and comes back empty, n1 goes down, n3 comes up. n2 and n3 are a majority that has never
// heard of the entry, and another entry takes its place.
//
// # Terms
//
// The incarnation of a data directory is 128 random bits, drawn when the directory was made. A node
// remembers an incarnation of each member, learned from the member itself or from another member. A
// remembered incarnation is never replaced. A node is complete when it remembers an incarnation of
// every member. A node is formed when it knows that every member is complete and remembers the same
// incarnations as the node itself. A node that is not formed exchanges no Raft message, so it
// neither votes nor acknowledges, and its pre-votes reach nobody. A cluster of one is formed at
// once.
//
// # Invariants
//
//   - A state is durable before Introduce tells it to anybody, and before Formed returns true.
//   - Once a node is complete its incarnations never change.
//   - A claim that a member is complete originates from that member, and is passed on only between
//     nodes that remember the same incarnations.
//   - Hence: when any member has acknowledged anything, every member remembers, durably, the same
//     incarnation of every member. A directory made later, under the name of a member, is refused
//     by every member that has kept its own, in both directions, and never becomes formed itself:
//     it would need the claim of each of those members.
//
// Knowing all incarnations would not be enough to vote. n1 meets n2, then n3, and forms with n3
// before n2 has heard of n3. n1 and n3 acknowledge an entry. n3 loses its disk, n1 goes down. n2,
// which has not heard of the former n3, would form with the new n3 without the entry.
//
// # Nodes that join later
//
// The members above are the founders. A node that the cluster's directory added later is no voter
// anywhere until the directory has bound it to one incarnation, which all nodes agree on as on every
// entry (package directory). So it is formed from the start, nobody waits for it, and its data
// directory needs no memory of this package: who comes with another one than the directory says is
// refused by the caller before Meet. It remembers the founders that it meets by their own word alone.
//
// # What is not found
//
// An older copy of the same data directory has the same incarnation. Raft's own bounds and the
// record of what a replica has signed are what can find it. If every member loses its directory
// there is nobody left who remembers.
//
// A member that lies before the cluster is formed is not found either. It can name, for another
// member, an incarnation that this member never had. A node that hears the lie before the member's
// own word remembers the lie, and refuses the member from then on. A rule by which the own word
// replaces hearsay would not help: in a cluster of three a node is complete as soon as it has heard
// the lie, and the incarnations of a complete node never change. The cluster does not begin, or it
// begins with the liar and the nodes that believe it. Stop all members, delete every data directory
// and initialise all but the liar again. A node that is complete refuses the lie.
//
// # Use
//
// The state machine, [State], has no clock, no disk and no network. [Memory] keeps a State in a
// file and is the transport's Membership.
package formation
