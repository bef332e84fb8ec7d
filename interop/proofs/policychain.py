"""Verifies a chain of policies and receipts under it, from docs/format-ledger.md and the package
documentation of ledger/policychain alone, without the signatures: of each checkpoint it takes the
ids of the keys whose lines are there, and does not verify the lines.

    python3 policychain.py vectors.json     checks the published examples
"""

import base64
import hashlib
import json
import sys

from verify import Reader, Refused, decimal, demand, leaf_of, receipt, sha256


def key_of(vkey):
    """Returns name and key id of a C2SP verifier key."""
    name, id, _ = vkey.split(b"+", 2)
    return name, bytes.fromhex(id.decode())


def signers(note):
    """Returns origin, size and the (name, key id) of each line of a signed checkpoint."""
    text, _, lines = note.partition(b"\n\n")
    origin, size, _ = text.split(b"\n")
    by = set()
    for line in lines.splitlines():
        dash, name, value = line.split(b" ")
        demand(dash == "\u2014".encode(), "a line that is no signature")
        by.add((name, base64.b64decode(value)[:4]))
    return origin, decimal(size), by


class Policy:
    def __init__(self, epoch, logs, voters, quorum):
        self.epoch, self.logs, self.voters, self.quorum = epoch, {key_of(k) for k in logs}, {key_of(k) for k in voters}, quorum

    def accepts(self, by):
        return bool(by & self.logs) and len(by & self.voters) >= self.quorum


def text(r):
    return r.take(r.number(2))


def genesis(leaf):
    kind, _, body, _ = leaf_of(leaf)
    r = Reader(body)
    demand(kind == 3 and r.take(2) == b"\1\1", "entry 0 is no genesis")
    r.take(4)
    origin = text(r)
    text(r), r.take(4)
    for _ in range(r.number(1)):
        text(r), text(r)
    logs = [text(r) for _ in range(r.number(1))]
    voters = []
    for _ in range(r.number(1)):
        r.take(8), text(r)
        voters.append(text(r))
    quorum = r.number(4)
    r.end()
    return origin, Policy(0, logs, voters, quorum)


def change(leaf):
    kind, _, body, _ = leaf_of(leaf)
    r = Reader(body)
    demand(kind == 3 and r.take(2) == b"\4\1", "an entry that is no policy change")
    epoch, reason = r.number(4), r.number(1)
    logs = [text(r) for _ in range(r.number(1))]
    voters = []
    for _ in range(r.number(1)):
        r.take(8)
        role = r.number(1)
        text(r)
        cosigner = text(r)
        demand(role in (1, 2), "an unknown role")
        if role == 1:
            voters.append(cosigner)
    quorum = r.number(4)
    if reason == 7:
        r.take(8 + 32)
    r.end()
    demand(len(voters) < 2 * quorum <= 2 * len(voters), "a quorum that two disjoint sets reach, or none")
    return Policy(epoch, logs, voters, quorum), reason == 7


def chain(raw):
    """Returns the origin and the steps: (from size, policy, policy before, up to size). They end where
    the ledger was restored: no policy before has signed what follows."""
    head, blank, rest = raw.partition(b"\n\n")
    lines = head.split(b"\n")
    demand(blank and len(lines) == 3 and lines[0] == b"cairn-policy-chain v1", "no chain of policies")
    demand(lines[1] == b"sha256 " + hashlib.sha256(rest).hexdigest().encode(), "another checksum")
    demand(lines[2].startswith(b"parts "), "no parts")
    reader = Reader(rest)
    parts = [reader.take(decimal(n)) for n in lines[2][6:].split(b" ")]
    reader.end()
    leaf, index, named = receipt(parts[0])
    origin, policy = genesis(leaf)
    by = signers(parts[0].partition(b"\n\n")[2])[2]
    demand(index == 0 and named == origin and policy.accepts(by), "a genesis of another place or ledger")
    steps, base, changes = [(1, policy, None, 0)], policy, []
    for i, part in enumerate(parts[1:]):
        leaf, index, named = receipt(part)
        policy, restored = change(leaf)
        last = changes[-1][0] if changes else 0
        demand(policy.epoch == i + 1 and index > last and named == origin, "a change is left out, or stands elsewhere")
        changes.append((index, policy, restored, part.partition(b"\n\n")[2]))
    while changes:
        end = 1
        while end < len(changes) and not changes[end - 1][2] and changes[end][3] == changes[0][3]:
            end += 1
        if changes[end - 1][2]:
            break
        _, size, by = signers(changes[0][3])
        demand(base.accepts(by), "a change is not sealed under the policy before")
        demand(changes[end - 1][1].accepts(by), "a policy has not taken over")
        steps += [(index + 1, policy, base, size) for index, policy, _, _ in changes[:end]]
        base, changes = changes[end - 1][1], changes[end:]
    return origin, steps


def verify(raw, steps, origin):
    """Returns the epoch of the policy under which a receipt is accepted."""
    receipt(raw)
    named, size, by = signers(raw.partition(b"\n\n")[2])
    from_, policy, before, until = [s for s in steps if s[0] <= size][-1]
    demand(named == origin and policy.accepts(by), "too few keys of the policy of that size")
    demand(before is None or size > until or before.accepts(by), "too few keys of the policy before")
    return policy.epoch


def main(name):
    with open(name) as f:
        vectors = json.load(f)
    origin, steps = chain(vectors["Chain"].encode())
    accepted = refused = 0
    for c in vectors["Accepted"]:
        under = chain(c["Chain"].encode())[1] if c.get("Chain") else steps
        epoch = verify(c["Receipt"].encode(), under, origin)
        if epoch != c["Epoch"]:
            sys.exit(f"{c['Name']}: epoch {epoch}, want {c['Epoch']}")
        accepted += 1
    for c in vectors["Refused"]:
        try:
            under = chain(c["Chain"].encode())[1] if c.get("Chain") else steps
            if c.get("Receipt"):
                verify(c["Receipt"].encode(), under, origin)
        except Refused:
            refused += 1
        else:
            sys.exit(f"accepted: {c['Name']}")
    print(f"{accepted} accepted, {refused} refused")


if __name__ == "__main__":
    main(sys.argv[1])
