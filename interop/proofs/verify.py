"""Verifies proofs of accounts, transfers and instructions, and statements, of a settlement ledger,
from docs/settlement.md, docs/format-map.md and docs/format-ledger.md alone.

It uses the standard library of Python. It does not verify the signatures of checkpoints, ML-DSA,
which any verifier of C2SP checkpoints does: a file is accepted under the (origin, size, root) of its
checkpoints.

    python3 verify.py vectors.json     checks the published examples
"""

import base64
import hashlib
import json
import sys


class Refused(Exception):
    pass


def demand(holds, why):
    if not holds:
        raise Refused(why)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def u64(n):
    return n.to_bytes(8, "big")


def unbase64(text):
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise Refused("a value is no base64")
    demand(base64.b64encode(raw) == text, "a value is no canonical base64")
    return raw


def decimal(text):
    demand(text.isdigit() and str(int(text)).encode() == text, "a damaged number")
    return int(text)


class Reader:
    def __init__(self, b):
        self.b = b

    def take(self, n):
        demand(n <= len(self.b), "it ends too early")
        part, self.b = self.b[:n], self.b[n:]
        return part

    def number(self, n):
        return int.from_bytes(self.take(n), "big")

    def id(self, optional=False):
        text = self.take(self.number(1))
        demand(len(text) <= 200 and (optional or text) and all(32 < c < 127 for c in text), "a damaged id")
        return text

    def amount(self):
        n = self.number(1)
        demand(n <= 16, "an amount of more than 16 bytes")
        raw = self.take(n)
        demand(not raw or raw[0] != 0, "an amount that begins with zero")
        return int.from_bytes(raw, "big")

    def end(self):
        demand(not self.b, "there are bytes behind the end")


def document(raw, kind):
    """Returns the lines and the parts of a file."""
    demand(raw.startswith(kind + b"\n"), "another kind of file")
    rest, fields = raw[len(kind) + 1:], []
    while True:
        line, newline, rest = rest.partition(b"\n")
        demand(newline, "the file is cut off")
        name, space, value = line.partition(b" ")
        demand(space, "a line without a value")
        if name == b"parts":
            break
        fields.append((name, value))
    demand(rest[:1] == b"\n", "no empty line before the parts")
    reader, parts = Reader(rest[1:]), []
    for length in value.split(b" "):
        parts.append(reader.take(decimal(length)))
    reader.end()
    return fields, parts


def leaf_of(leaf):
    """Returns kind, time, body and outcome of a leaf."""
    r = Reader(leaf)
    version, kind, flags = r.number(1), r.number(1), r.number(1)
    demand(version == 2 and kind in (1, 2, 3) and flags == 0, "a leaf of another version, kind or flag")
    time, p, k, b = r.number(8), r.number(2), r.number(1), r.number(2)
    demand(1 <= p <= 2048 and k <= 128, "a leaf with a damaged header")
    r.take(p + k)
    return kind, time, r.take(b), r.b


def receipt(raw):
    """Returns the leaf, its index and the origin, and checks that the checkpoint's root has it."""
    head, blank, note = raw.partition(b"\n\n")
    lines = head.split(b"\n")
    demand(blank and lines[0] == b"c2sp.org/tlog-proof@v1" and len(lines) >= 3, "no receipt")
    demand(lines[1].startswith(b"extra ") and lines[2].startswith(b"index "), "a receipt without leaf and index")
    leaf, index = unbase64(lines[1][6:]), decimal(lines[2][6:])
    path = [unbase64(line) for line in lines[3:]]
    text, blank, _ = note.partition(b"\n\n")
    checkpoint = text.split(b"\n")
    demand(blank and len(checkpoint) == 3, "no checkpoint")
    origin, size, root = checkpoint[0], decimal(checkpoint[1]), unbase64(checkpoint[2])
    demand(index < size, "the entry lies beyond the checkpoint")
    # RFC 9162, section 2.1.3.2.
    node, last, h = index, size - 1, sha256(b"\0", leaf)
    for sibling in path:
        demand(last > 0 and len(sibling) == 32, "an inclusion proof that is too long")
        if node & 1 or node == last:
            h = sha256(b"\1", sibling, h)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            h = sha256(b"\1", h, sibling)
        node, last = node >> 1, last >> 1
    demand(last == 0 and h == root, "the checkpoint does not have the leaf")
    return leaf, index, origin


def map_proof(raw, root, key):
    """Returns the hash of the record below a map root, None when the account is absent."""
    r = Reader(raw)
    version, end, n = r.number(1), r.number(1), r.number(2)
    demand(version == 1 and end in (1, 2, 3) and (end != 3 or n == 0), "a damaged proof of the map")
    steps = [(r.number(1), r.take(32)) for _ in range(n)]
    record = r.take(32) if end != 3 else None
    other = r.take(32) if end == 2 else None
    r.end()
    bit = lambda k, b: k[b // 8] >> (7 - b % 8) & 1
    demand(all(a[0] < b[0] for a, b in zip(steps, steps[1:])), "the bits do not rise")
    if end == 1:
        h = sha256(b"\2", key, record)
    elif end == 2:
        demand(other != key and all(bit(other, b) == bit(key, b) for b, _ in steps), "another account's walk")
        h = sha256(b"\2", other, record)
    else:
        h = sha256(b"\5")
    for b, sibling in reversed(steps):
        h = sha256(b"\3", bytes([b]), h, sibling) if bit(key, b) == 0 else sha256(b"\3", bytes([b]), sibling, h)
    demand(h == root, "the map has another root")
    return record if end == 1 else None


SUMS = ("DebitsPending", "DebitsPosted", "CreditsPending", "CreditsPosted")


def account(raw):
    """Verifies the proof of an account."""
    fields, parts = document(raw, b"cairn-account-proof v1")
    demand([name for name, _ in fields] == [b"account", b"record", b"map"] and len(parts) == 1, "other lines or parts")
    id = fields[0][1]
    leaf, index, origin = receipt(parts[0])
    kind, _, body, outcome = leaf_of(leaf)
    demand(kind == 3 and body == b"\3\1" and len(outcome) == 48, "the leaf is no record of the map root")
    key = sha256(len(origin).to_bytes(2, "big"), origin, id)
    hashed = map_proof(unbase64(fields[2][1]), outcome[:32], key)
    v = {"Account": id.decode(), "Size": index + 1, "Origin": origin, "Absent": hashed is None, "Sequence": 0, "Head": bytes(32), "Last": 0}
    v.update(dict.fromkeys(SUMS, 0))
    if hashed is None:
        demand(fields[1][1] == b"none", "a record of an account that is absent")
        return v
    demand(fields[1][1] != b"none", "no record of an account that is there")
    record = unbase64(fields[1][1])
    demand(sha256(record) == hashed, "the map has another record")
    r = Reader(record)
    demand(r.number(1) == 1 and r.id() == id, "the record of another account")
    r.id()
    r.take(1 + 1 + 16)
    for name in SUMS:
        v[name] = r.number(16)
    v["Sequence"], v["Last"], v["Head"] = r.number(8), r.number(8), r.take(32)
    r.end()
    return v


def take_detail(raw):
    """Returns the detail of an account."""
    r = Reader(raw)
    d = {"Head": r.take(32), "Blind": r.take(32)}
    d["Encoded"] = r.b
    d["Account"], d["Scale"] = r.id(), r.number(1)
    demand(d["Scale"] <= 18, "a scale above 18")
    for name in SUMS:
        d[name] = r.amount()
    d["Sequence"], d["Previous"] = r.number(8), r.number(8)
    r.end()
    return d


def next_head(detail, index, digest):
    return sha256(b"\4", detail["Head"], u64(index), digest, detail["Blind"], detail["Encoded"])


STATUSES = ("", "done", "posted", "pending", "voided", "expired", "rejected", "exists", "conflict", "unmatched",
            "matched", "queued", "settled", "partly_settled", "cancelled", "cancel_requested", "held")


def outcome_of(raw):
    """Returns the results of an outcome, the accounts with their heads, and the length of the latter."""
    r = Reader(raw)
    demand(r.number(1) == 1, "an outcome of another version")
    results = []
    for _ in range(r.number(2)):
        status, _ = r.number(1), r.number(1)
        demand(0 < status < len(STATUSES), "an unknown status")
        results.append({"Status": STATUSES[status], "ID": r.id(optional=True), "Index": r.number(8)})
        r.take(2 + 1)
        if status in (12, 13):
            r.amount(), r.amount()
    left = len(r.b)
    accounts = [(r.id(), r.take(32)) for _ in range(r.number(2))]
    r.end()
    demand(all(a[0] < b[0] for a, b in zip(accounts, accounts[1:])), "the accounts do not ascend")
    return results, dict(accounts), left


def take_decimal(r):
    return r.number(1), r.amount()


def command_of(body):
    """Returns the operation of a command and what it asks for: the id, of a submit also its transfers."""
    r = Reader(body)
    demand(r.number(1) == 1, "a command of another version")
    op = r.number(1)
    demand(r.number(1) <= 1, "a damaged command")
    if op == 8:
        r.end()
        return op, b"", []
    id = r.id(optional=op == 4)
    if op != 4:
        return op, id, []
    r.take(1 + 8)
    for _ in range(r.number(1)):
        kind = r.number(1)
        demand(1 <= kind <= 5, "an unknown condition")
        if kind <= 3:
            r.id()
        if kind == 1:
            take_decimal(r)
        else:
            r.take(1 if kind == 3 else 8)
    transfers = []
    for _ in range(r.number(2)):
        transfers.append(r.id())
        r.id(), r.id(), r.id(optional=True), take_decimal(r), r.id(optional=True)
        for _ in range(r.number(1)):
            r.take(1)
            r.take(r.number(2))
    return op, id, transfers


def decided(raw):
    """Verifies a receipt of a command and returns what is in its leaf."""
    leaf, index, origin = receipt(raw)
    kind, _, body, outcome = leaf_of(leaf)
    demand(kind == 2, "the leaf is no command")
    results, heads, left = outcome_of(outcome)
    op, id, transfers = command_of(body)
    return {"Index": index, "Origin": origin, "Op": op, "ID": id, "Transfers": transfers, "Results": results,
            "Heads": heads, "Digest": sha256(leaf[:len(leaf) - left])}


def about(entry, id):
    """Returns what an entry says about an id, None if nothing."""
    return next((r for r in entry["Results"] if r["ID"] == id), None)


def shown(fields, entries):
    """Verifies the details of a file."""
    accounts, before = [], (-1, b"")
    for name, value in fields:
        number, space, encoded = value.partition(b" ")
        demand(name == b"detail" and space, "a line that does not belong here")
        part, detail = decimal(number), take_detail(unbase64(encoded))
        demand(part < len(entries), "a detail of no receipt")
        entry, account = entries[part], detail["Account"]
        demand(before < (part, account), "the details do not ascend")
        before = part, account
        demand(entry["Heads"].get(account) == next_head(detail, entry["Index"], entry["Digest"]), "the entry commits to another detail")
        accounts.append(dict({n: detail[n] for n in SUMS + ("Sequence",)}, Index=entry["Index"], Account=account.decode()))
    return accounts


def transfer(raw):
    """Verifies the proof of a transfer or a set."""
    fields, parts = document(raw, b"cairn-transfer-proof v1")
    demand(fields and fields[0][0] == b"id" and len(parts) in (1, 2), "other lines or parts")
    id, entries = fields[0][1], [decided(p) for p in parts]
    asked = entries[0]
    demand(asked["Op"] == 4 and (id == asked["ID"] or id in asked["Transfers"]), "the entry asks for another transfer")
    status = asked["Results"][0 if asked["ID"] else asked["Transfers"].index(id)]["Status"]
    if len(entries) == 2:
        resolution, id = entries[1], asked["ID"] or id
        demand(resolution["Origin"] == asked["Origin"] and status == "pending", "nothing is to be resolved")
        if resolution["Op"] == 5:
            demand(resolution["ID"] == id, "the entry resolves something else")
            result, may = resolution["Results"][0], ("posted", "voided")
        else:
            demand(resolution["Op"] == 8, "the entry resolves nothing")
            result, may = about(resolution, id), ("expired",)
        demand(result and result["Index"] == asked["Index"] and result["Status"] in may, "the entry does not resolve it")
        status = result["Status"]
    return {"Status": status, "Shown": shown(fields[1:], entries)}


def instruction(raw):
    """Verifies the proof of an instruction."""
    fields, parts = document(raw, b"cairn-instruction-proof v1")
    demand([name for name, _ in fields[:3]] == [b"id", b"match", b"last"], "other lines")
    demand(all(value in (b"shown", b"none") for _, value in fields[1:3]), "a damaged line")
    id, has = fields[0][1], [True] + [value == b"shown" for _, value in fields[1:3]]
    demand(len(parts) == sum(has), "other parts")
    entries = [decided(p) for p in parts]
    demand(len({e["Origin"] for e in entries}) == 1, "receipts of several ledgers")
    rest = iter(entries)
    given, match, last = (next(rest) if there else None for there in has)
    demand(given["Op"] == 6 and given["ID"] == id, "the entry does not give the instruction")
    status = given["Results"][0]["Status"]
    if last:
        result = about(last, id)
        demand(result and last["Index"] >= given["Index"], "the last entry does not speak of it")
        status = result["Status"]
        demand(status in ("settled", "cancelled", "expired"), "no last status")
    if match:
        demand(match["Op"] == 6 and match["Index"] != given["Index"], "no instruction of the counterparty")
        named = [about(e, id) for e in entries]
        demand(any(r and r["Index"] == match["Index"] for r in named), "no entry names the match")
    return {"Status": status, "Shown": shown(fields[3:], entries)}


def statement(raw):
    """Verifies a statement."""
    fields, parts = document(raw, b"cairn-statement-proof v1")
    demand(fields and fields[0][0] == b"account" and len(parts) in (1, 2), "other lines or parts")
    id = fields[0][1]
    closing = account(parts[-1])
    opening = account(parts[0]) if len(parts) == 2 else dict(closing, Size=0, Absent=True, Sequence=0, Head=bytes(32), **dict.fromkeys(SUMS, 0))
    demand(opening["Account"] == closing["Account"] == id.decode() and opening["Origin"] == closing["Origin"], "proofs of two accounts")
    demand(opening["Size"] <= closing["Size"], "it ends before it begins")
    head, sequence, last, sums, entries = opening["Head"], opening["Sequence"], opening["Last"], [opening[n] for n in SUMS], []
    for name, value in fields[1:]:
        words = value.split(b" ")
        demand(name in (b"entry", b"hidden") and len(words) == 3, "a damaged line about an entry")
        index, first, detail = decimal(words[0]), unbase64(words[1]), take_detail(unbase64(words[2]))
        demand(opening["Size"] <= index < closing["Size"], "an entry outside of the statement")
        digest = first
        if name == b"entry":
            kind, _, _, results = leaf_of(first)
            demand(kind == 2, "no command")
            outcome_of(results + bytes(2))
            digest = sha256(first)
        demand(len(digest) == 32, "a damaged digest")
        sequence += 1
        previous = index if sequence == 1 else last
        demand(detail["Account"] == id and detail["Sequence"] == sequence and detail["Previous"] == previous, "an entry does not follow the one before")
        demand(detail["Head"] == head and (sequence == 1 or index > last), "an entry does not follow the one before")
        head, last, sums = next_head(detail, index, digest), index, [detail[n] for n in SUMS]
        entries.append(index)
    demand((head, sequence, sums) == (closing["Head"], closing["Sequence"], [closing[n] for n in SUMS]), "the entries do not lead to the closing record")
    return dict(closing, Entries=entries)


KINDS = {"account": account, "transfer": transfer, "instruction": instruction, "statement": statement}


def main(name):
    with open(name) as f:
        vectors = json.load(f)
    accepted = refused = 0
    for c in vectors["Accepted"]:
        got = KINDS[c["Kind"]](c["File"].encode())
        fields = ("Account", "Size", "Sequence", "Entries") + SUMS
        if c["Kind"] in ("transfer", "instruction"):
            fields = ("Status", "Shown")
            c.setdefault("Shown", [])
        for field in fields:
            if field in c and got[field] != c[field]:
                sys.exit(f"{c['Name']}: {field} is {got[field]}, want {c[field]}")
        if got.get("Absent", False) != c.get("Absent", False):
            sys.exit(f"{c['Name']}: absent: {got['Absent']}")
        accepted += 1
    for c in vectors["Refused"]:
        if c.get("Signature"):
            continue
        try:
            KINDS[c["Kind"]](c["File"].encode())
        except Refused:
            refused += 1
        else:
            sys.exit(f"accepted, though {c['Why']}")
    print(f"{accepted} accepted, {refused} refused")


if __name__ == "__main__":
    main(sys.argv[1])
