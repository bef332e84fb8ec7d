// Package transport carries Raft's and the application's messages between the
// nodes of a cluster, in frames of its own over connections that its caller
// dials and authenticates.
//
// # What it guarantees
//
//   - Heartbeats, votes, acknowledgements, reads and application messages never
//     wait behind appends: each pair of nodes has, per direction, a control and a
//     bulk connection, with a queue each. Only MsgApp uses bulk, so appends stay
//     in order among themselves.
//   - SendRaft and SendApp never block. Queues are bounded in bytes and frames;
//     what does not fit is dropped, and the handler hears Unreachable when it was
//     an append, since Raft then has to probe.
//   - Heartbeats do not grow with the groups: those of all groups leave in one frame
//     a round and peer, and their answers in one. A heartbeat that confirms reads does
//     not wait for a round.
//   - A frame is delivered whole and as it was sent (CRC-32C), from the peer that
//     the connection was authenticated for, to the group that it names, or not at
//     all. The first malformed frame closes its connection with a logged reason.
//   - Every length is checked against a bound before memory is allocated for it,
//     and every message against the shape that etcd/raft expects (Validate). Whether
//     a message fits the receiver's log and term is judged by package raftnode.
//   - No message of Raft or the application is exchanged before both ends have introduced
//     themselves and the caller's Membership has accepted the other end, nor as long as the
//     Membership is not formed.
//   - Peers come, go and move while the transport runs (SetPeers). No connection outlives
//     the moment from which the other end is no peer.
//   - A peer whose process is gone is noticed at once: its connections break, the
//     transport dials again, and when that is refused, PeerDown says so.
//
// # What it does not do
//
// It does not retry, acknowledge or deduplicate: Raft's messages may be lost, and
// so may an application's. A message for a group without handler is dropped.
//
// # Format
//
// Integers are little-endian. A frame is a header and a payload:
//
//	offset size
//	     0    4  magic "crnF"
//	     4    1  version, 1
//	     5    1  kind: 1 hello, 2 raft, 3 app, 4 clock, 5 beats, 6 answers to beats
//	     6    2  zero
//	     8    8  group (0 in frames of other kinds than raft and app)
//	    16    4  payload length
//	    20    4  CRC-32C of bytes 0..19 and the payload
//	    24       payload
//
// The first frame of a connection is a hello. The accepting side answers it with a hello of the
// same class, and sends nothing else on this connection. On a control connection the dialling side
// says hello again whenever it has learned something about the members. An inquiry ends with the
// answer.
//
//	 0    1  class: 1 control, 2 bulk, 3 inquiry
//	 1    3  zero
//	 4    4  newest feature level that the sender's program knows
//	 8    8  sender's node id
//	16    8  receiver's node id
//	24    8  cluster id
//	32   16  incarnation of the sender's data directory, zero in an inquiry
//	48    8  number of members, at most 64
//	56       members by ascending node id, the sender included; none in an inquiry
//
// Each member:
//
//	 0    8  node id
//	 8   16  the incarnation that the sender remembers, zero if it has not heard of one
//	24    8  flags: bit 0 = the member remembers the same incarnations as the sender, all of them
//
// Once a second each node asks each peer for its wall clock, over the control
// connections; clock.go has the payload of these frames.
//
// The payload of an app frame is the application's. That of a raft frame is one
// message: 64 bytes, the context, then the entries.
//
//	 0    1  message type (raftpb.MessageType)
//	 1    1  flags: bit 0 = reject
//	 2    2  context length
//	 4    4  number of entries
//	 8    8  from
//	16    8  to
//	24    8  term
//	32    8  log term
//	40    8  index
//	48    8  commit
//	56    8  reject hint
//	64       context
//
// Each entry:
//
//	 0    8  term
//	 8    8  index
//	16    4  data length; bit 31: the members of the group change at the entry
//	20       data
//
// The payload of a beats frame is a heartbeat without a context (MsgHeartbeat) of each
// of many groups, that of the answers to them a MsgHeartbeatResp of each. They are from
// the node at one end of the connection to the node at the other. Both are sent on
// control connections only.
//
//	0    4  number of beats, 1 to 16384
//	4       beats by ascending group, each group once
//
// Each beat is two or three numbers as unsigned varints (LEB128, at most 10 bytes) in
// their shortest form:
//
//	group   less the group of the beat before; the first one as it is
//	term    not 0
//	commit  in a beats frame only
package transport
