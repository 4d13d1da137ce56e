#!/usr/bin/env python3
"""Verifies the audit trail, certificates and trees without the database and without any of the project's code.

usage: scripts/verify-audit.py [FILE] [--app UUID] [--checkpoint FILE] [--public-key KEY] [--witness-key KEY]…
       scripts/verify-audit.py certificate FILE --public-key KEY [--witness-key KEY]…
       scripts/verify-audit.py tiles DIR --public-key KEY [--witness-key KEY]… [--old FILE]

FILE is what `customerd audit export` wrote; standard input without it. --checkpoint checks the chains against signed
checkpoints; --public-key, a verifier key or a file with one or with a PEM key, is the key that must have signed them;
each witness whose --witness-key is given must have cosigned them. A certificate may be JSON or a page. DIR is what
`customerd audit export --tiles` wrote; --old is an older checkpoint, which the tree has to continue.
Prints {"entries","verified","broken_at","broken_app","reason"}; exit 0 if all is whole, 1 if not, 2 for bad usage.

Written from docs/audit-chain.md alone. Python's standard library, constant memory.
"""

import argparse
import base64
import binascii
import calendar
import hashlib
import hmac
import json
import os
import re
import sys

CANONICAL = (
    "seq id app_id occurred_at recorded_at action outcome status_code customer_id actor_key_id actor_client_key "
    "actor_name actor_role request_id idempotency_key error_code sqlstate constraint_name referencing_table"
).split()
SUBJECT = "before_image reason error_message".split()
CONTEXT = "actor_claimed ip user_agent request".split()
PROOF = "previous_hash hash subject_commitment context_commitment subject_salt context_salt".split()
COLUMNS = frozenset(CANONICAL + SUBJECT + CONTEXT + PROOF)
NUMBERS = frozenset(["seq", "status_code"])
TIMES = frozenset(["occurred_at", "recorded_at"])
HEAD = frozenset(["app_id", "head_seq", "head_hash"])
PART = frozenset(["app_id", "part_after", "part_after_hash", "part_after_tree", "part_last"])
SEQS = frozenset(["head_seq", "part_after", "part_last"])


class Malformed(Exception):
    """A line, a checkpoint or a key that isn't one."""


# --- entries ----------------------------------------------------------------------------------------------------------


TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{6})Z", re.ASCII)
HEX = re.compile("(?:[0-9a-f]{2})*")
RETENTION = re.compile(r'\{"days": \d+, "up_to": (\d+)\}', re.ASCII)
NAMES = {name: len(name).to_bytes(4, "big") + name.encode() for name in COLUMNS}


def microseconds(text):
    match = TIME.fullmatch(text)
    if not match:
        return text
    year, month, day, hour, minute, second, fraction = map(int, match.groups())
    # The calendar of year 0 is that of year 400, which datetime would know, 146,097 days later.
    era, year = (1, year + 400) if year == 0 else (0, year)
    if not (1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        return text
    if hour > 23 or minute > 59 or second > 59:
        return text
    seconds = calendar.timegm((year, month, day, hour, minute, second)) - era * 146097 * 86400
    return str(seconds * 1000000 + fraction)


def member(name, value):
    if value is None:
        return NAMES[name] + b"\0"
    text = value.encode()
    return NAMES[name] + b"\1" + len(text).to_bytes(4, "big") + text


def form(names, entry):
    return b"".join(member(name, entry[name]) for name in names)


def data(entry, name):
    text = entry[name]
    return bytes.fromhex(text) if text is not None and HEX.fullmatch(text) else None


def commits(entry, commitment, names, salt):
    key = data(entry, salt)
    # HMAC pads keys with zeros, so that one of another length can give the same.
    return key is not None and len(key) == 32 and hmac.digest(key, form(names, entry), "sha256") == data(entry, commitment)


class Entry:
    """An entry: what can be checked on it alone, and what ties it to others."""

    __slots__ = ("seq", "app_id", "customer_id", "previous_hash", "hash", "is_erased", "declares_erasure",
                 "is_context_erased", "contexts_erased_to", "fault")

    def __init__(self, entry):
        self.seq = int(entry["seq"] or 0)
        self.app_id = entry["app_id"] or ""
        self.customer_id = entry["customer_id"]
        self.previous_hash = data(entry, "previous_hash")
        self.hash = data(entry, "hash")
        self.is_erased = (
            entry["subject_salt"] is None
            and entry["customer_id"] is not None
            and all(entry[name] is None for name in SUBJECT)
        )
        self.declares_erasure = (entry["action"], entry["outcome"]) == ("customer.redact", "SUCCEEDED")
        self.is_context_erased = entry["context_salt"] is None and all(entry[name] is None for name in CONTEXT[:3])
        self.contexts_erased_to = None
        if (entry["action"], entry["outcome"]) == ("trail.retention", "SUCCEEDED") and entry["context_salt"] is not None:
            declared = RETENTION.fullmatch(entry["request"] or "")
            self.contexts_erased_to = int(declared[1]) if declared else None
        self.fault = self.find_fault(entry)

    def find_fault(self, entry):
        parts = [data(entry, name) for name in ("subject_commitment", "context_commitment", "previous_hash")]
        if any(part is None or len(part) != 32 for part in parts):
            return "a hash doesn't have 32 bytes"
        if hashlib.sha256(form(CANONICAL, entry) + b"".join(parts)).digest() != self.hash:
            return "its hash doesn't match its columns"
        if not self.is_context_erased and not commits(entry, "context_commitment", CONTEXT, "context_salt"):
            return "the context doesn't match its commitment"
        if not self.is_erased and not commits(entry, "subject_commitment", SUBJECT, "subject_salt"):
            return "the subject data doesn't match its commitment"
        return None


def unique(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Malformed("a member occurs twice")
    return members


def whole(text):
    if text == "-0":
        raise Malformed("-0 isn't allowed")
    if not -(2**63) <= int(text) < 2**63:
        raise Malformed("a number is too large")
    return int(text)


def read_line(line):
    """The entry, the (app, seq, hash) of the head and the (app, seq before, hash before, tree before, last seq) of the
    part in a line, each or None."""
    try:
        members = json.loads(line.decode("utf-8"), object_pairs_hook=unique, parse_int=whole)
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from error
    if not isinstance(members, dict):
        raise Malformed("it isn't an object")
    names = members.keys()
    has_head = "head_seq" in names or "head_hash" in names
    is_entry = COLUMNS <= names
    if names != (COLUMNS | HEAD if has_head else COLUMNS) and names != HEAD and names != PART:
        raise Malformed("its members aren't the columns")
    for name, value in members.items():
        is_number = name in NUMBERS or name in SEQS
        if value is None and (name in COLUMNS or name == "part_last") and (is_entry or name != "app_id"):
            continue
        if type(value) is not (int if is_number else str):
            raise Malformed(f"{name} has the wrong type")
        try:
            members[name] = microseconds(value) if name in TIMES else str(value)
            members[name].encode()
        except UnicodeEncodeError as error:
            raise Malformed(f"{name} holds a lone surrogate") from error

    def position(seq, value):
        value = data(members, value)
        if value is None or int(members[seq]) < 0 or not (is_entry or members["app_id"]):
            raise Malformed("a head or the start of a part is malformed")
        return members["app_id"] or "", int(members[seq]), value

    if names == PART:
        last = members["part_last"]
        if last is not None and int(last) < 0:
            raise Malformed("the end of a part is malformed")
        start, tree = position("part_after", "part_after_hash"), data(members, "part_after_tree")
        if tree is None or len(tree) != 32 * bin(start[1]).count("1"):
            raise Malformed("the tree before a part is malformed")
        tree = [tree[index : index + 32] for index in range(0, len(tree), 32)]
        return None, None, start + (Edge(start[1], tree), last and int(last))
    return (Entry(members) if is_entry else None), position("head_seq", "head_hash") if has_head else None, None


# --- the Merkle tree: RFC 9162, section 2.1 ---------------------------------------------------------------------------


def leaf_hash(data):
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


class Edge:
    """The right edge of a growing tree: a hash for each perfect subtree that it is made of, the largest first."""

    def __init__(self, size=0, hashes=()):
        self.size = size
        self.hashes = list(hashes)

    def append(self, leaf):
        """Returns the hashes of the tiles that are full now, [(level, index, hash)]."""
        height, full = 0, []
        while self.size >> height & 1:
            leaf = node_hash(self.hashes.pop(), leaf)
            height += 1
            if height % 8 == 0:
                full.append((height // 8, self.size >> height, leaf))
        self.hashes.append(leaf)
        self.size += 1
        return full

    def root(self):
        if not self.hashes:
            return hashlib.sha256(b"").digest()
        root = self.hashes[-1]
        for left in self.hashes[-2::-1]:
            root = node_hash(left, root)
        return root


def includes(leaf, index, size, root, proof):
    if not 0 <= index < size:
        return False
    number, last, value = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if number & 1 or number == last:
            value = node_hash(sibling, value)
            while number and not number & 1:
                number, last = number >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        number, last = number >> 1, last >> 1
    return last == 0 and value == root


def is_consistent(old, old_root, new, new_root, proof):
    if not 0 <= old <= new:
        return False
    if old == 0:
        return not proof and old_root == Edge().root() and (new > 0 or new_root == old_root)
    if old == new:
        return not proof and old_root == new_root
    path = ([old_root] if old & (old - 1) == 0 else []) + list(proof)
    if not path:
        return False
    number, last = old - 1, new - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    old_value = new_value = path[0]
    for item in path[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            old_value, new_value = node_hash(item, old_value), node_hash(item, new_value)
            while number and not number & 1:
                number, last = number >> 1, last >> 1
        else:
            new_value = node_hash(new_value, item)
        number, last = number >> 1, last >> 1
    return last == 0 and old_value == old_root and new_value == new_root


# --- chains -----------------------------------------------------------------------------------------------------------


class Walk:
    """Follows chains entry by entry."""

    def __init__(self, checkpoints=()):
        self.entries = self.verified = 0
        self.broken = None  # (app, seq, reason)
        self.heads = {}
        self.parts = {}
        self.part_count = 0
        self.agreements = 0
        self.unconfirmed = []  # the chains that no checkpoint was compared with
        self.unwitnessed = []  # those of them with entries
        self.checkpoints = {}
        for app, size, root in checkpoints:
            self.checkpoints.setdefault(app, {}).setdefault(size, set()).add(root)
        self.app = self.finished = None
        self.begin(None)

    def begin(self, app):
        self.app = app
        self.is_broken = False
        self.signed = self.checkpoints.pop(app, {})
        _, self.seq, self.hash, tree, end = self.parts.get(app, (app, 0, bytes(32), Edge(), None))
        self.tree = Edge(tree.size, tree.hashes)
        self.start = self.seq
        self.agreed = 0
        if app in self.parts:
            self.part_count += 1
            known = self.signed
            self.signed = {seq: hashes for seq, hashes in known.items() if seq > self.seq and (end is None or seq <= end)}
            root = self.tree.root()
            if known.get(self.seq, {root}) != {root}:
                self.break_chain(self.seq + 1, f"the part doesn't follow from the checkpoint of {self.seq} entries")
            self.agreed = len(known.get(self.seq, ()))
        self.contexts = []  # ranges of entries whose erased context no later entry has declared yet
        self.erased = {}  # by customer, the first erased entry that no later entry has declared yet

    def take_head(self, head):
        self.heads[head[0]] = head

    def take_part(self, part):
        self.parts[part[0]] = part

    def take(self, entry):
        if entry.app_id != self.app:
            self.finish_chain()
            self.begin(entry.app_id)
            if self.finished is not None and entry.app_id <= self.finished:
                self.break_chain(entry.seq, "chains aren't in order")
        self.entries += 1
        if self.is_broken:
            return
        fault = self.fault(entry)
        if fault:
            self.break_chain(*fault)
            return
        self.tree.append(leaf_hash(entry.hash))
        signed = self.signed.get(entry.seq)
        if signed and signed != {self.tree.root()}:
            reason = f"the chain forks from its checkpoint: it was rewritten at entry {entry.seq} or before"
            self.break_chain(entry.seq, reason)
            return
        self.agreed += len(signed or ())
        self.take_erasures(entry)
        self.seq, self.hash = entry.seq, entry.hash
        self.verified += 1

    def fault(self, entry):
        following = self.seq + 1
        if entry.seq > following:
            return following, f"entry {following} is missing"
        if entry.seq < following:
            return entry.seq, f"there is a second entry {entry.seq}"
        if entry.fault:
            return entry.seq, f"entry {entry.seq} was changed: {entry.fault}"
        if entry.previous_hash != self.hash:
            return entry.seq, f"entry {entry.seq} doesn't follow entry {self.seq}: one of them was replaced"
        return None

    def take_erasures(self, entry):
        if entry.contexts_erased_to is not None:
            end = entry.contexts_erased_to
            self.contexts = [[max(first, end + 1), last] for first, last in self.contexts if last > end]
        if entry.is_context_erased:
            if self.contexts and self.contexts[-1][1] + 1 == entry.seq:
                self.contexts[-1][1] = entry.seq
            else:
                self.contexts.append([entry.seq, entry.seq])
        if entry.customer_id is None:
            return
        if entry.declares_erasure:
            self.erased.pop(entry.customer_id, None)
        if entry.is_erased:
            self.erased.setdefault(entry.customer_id, entry.seq)

    def break_chain(self, seq, reason):
        self.is_broken = True
        if self.broken is None or self.app < self.broken[0]:
            self.broken = (self.app, seq, reason)

    def finish_chain(self):
        if self.app is None:
            return
        head = self.heads.pop(self.app, None)
        end = self.parts.pop(self.app, (None,))[-1]
        if not self.is_broken:
            # What comes after a part could declare an erasure, and has the head.
            faults = (self.undeclared(), self.cut(), self.wrong_head(head)) if end is None else (self.wrong_end(end),)
            faults = [fault for fault in faults if fault]
            if faults:
                seq, reason = min(faults, key=lambda fault: fault[0])
                self.verified -= max(0, self.seq - max(seq - 1, self.start))
                self.break_chain(seq, reason)
        self.agreements += self.agreed
        if not self.is_broken and not self.agreed:
            self.unconfirmed.append(self.app)
            if self.seq:
                self.unwitnessed.append(self.app)
        self.finished, self.app = self.app, None

    def undeclared(self):
        faults = [(seq, f"entry {seq} was erased, but no later redaction of its customer declares that")
                  for seq in self.erased.values()]
        faults += [(seq, f"the context of entry {seq} was erased, but no later retention declares that")
                   for seq, _ in self.contexts]
        return min(faults, key=lambda fault: fault[0], default=None)

    def cut(self):
        size = max(self.signed, default=0)
        if size <= self.seq:
            return None
        return self.seq + 1, f"entry {self.seq + 1} is missing: prefix intact, {size - self.seq} entries short of the {size} of its checkpoint"

    def wrong_end(self, end):
        if end > self.seq:
            return self.seq + 1, f"entry {self.seq + 1} is missing: the part ends with entry {end}"
        return (end + 1, f"entry {end + 1} isn't in the part, which ends with entry {end}") if end < self.seq else None

    def wrong_head(self, head):
        if head is None:
            return max(self.seq, 1), f"audit.heads has no row, so nothing confirms that entry {self.seq} is the last"
        if head[1] > self.seq:
            return self.seq + 1, f"entry {self.seq + 1} is missing: audit.heads counts {head[1]} entries"
        if head[1] < self.seq:
            return head[1] + 1, f"entry {head[1] + 1} isn't in audit.heads, which counts {head[1]} entries"
        return None if head[2] == self.hash else (self.seq, f"entry {self.seq} isn't the one of audit.heads")

    def stop(self, reason):
        if not self.is_broken:
            if self.app is None:
                self.broken = self.broken or (None, None, reason)
            else:
                self.break_chain(self.seq + 1, reason)

    def finish(self):
        self.finish_chain()
        for app in sorted(self.heads.keys() | self.checkpoints.keys() | self.parts.keys()):
            self.begin(app)
            self.finish_chain()


def walk_lines(lines, walk, app=None):
    for number, line in enumerate(lines, 1):
        try:
            entry, head, part = read_line(line)
        except Malformed as error:
            return walk.stop(f"line {number} isn't an entry: {error}")
        if app is not None and app != (entry.app_id if entry else (head or part)[0]):
            continue
        if part:
            walk.take_part(part)
        if entry:
            walk.take(entry)
        if head:
            walk.take_head(head)
    return walk.finish()


# --- checkpoints ------------------------------------------------------------------------------------------------------


def text_of_base64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("it isn't base64") from error
    if base64.b64encode(data).decode() != text:
        raise Malformed("it isn't base64")
    return data


def read_checkpoints(contents):
    """[(app, size, root, name that may sign, text, [(name, key id, signature)])]"""
    if re.search(r"[\0-\x09\x0b-\x1f]", contents):
        raise Malformed("it has control characters")
    paragraphs = [part.strip("\n").split("\n") for part in re.split(r"\n\n+", contents.strip("\n")) if part]
    if not paragraphs or len(paragraphs) % 2:
        raise Malformed("it holds no note, or a text without signatures")
    checkpoints = []
    for text, lines in zip(paragraphs[::2], paragraphs[1::2]):
        signatures = []
        for line in lines:
            match = re.fullmatch("\u2014 ([^ ]+) ([^ ]+)", line)
            if not match or len(text_of_base64(match[2])) <= 4:
                raise Malformed("a signature line is malformed")
            blob = text_of_base64(match[2])
            signatures.append((match[1], blob[:4], blob[4:]))
        origin = re.fullmatch("(.+)/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", text[0])
        if len(text) < 3 or not origin or not re.fullmatch("0|[1-9][0-9]{0,15}", text[1]) or int(text[1]) > 2**53:
            raise Malformed("a note isn't the checkpoint of a chain")
        value = text_of_base64(text[2])
        if len(value) != 32:
            raise Malformed("a note isn't the checkpoint of a chain")
        signed = "".join(line + "\n" for line in text).encode()
        checkpoints.append((origin[2], int(text[1]), value, origin[1], signed, signatures))
    return checkpoints


def read_key(text):
    """The name of a verifier key (None for a PEM key) and its 32 bytes."""
    pem = re.search("-----BEGIN PUBLIC KEY-----(.*)-----END PUBLIC KEY-----", text, re.DOTALL)
    if pem:
        der = text_of_base64("".join(pem[1].split()))
        if len(der) != 44 or der[:12] != bytes.fromhex("302a300506032b6570032100"):
            raise Malformed("it isn't an Ed25519 key")
        return None, der[12:]
    parts = text.strip(" \t\r\n").split("+", 2)
    if len(parts) != 3:
        raise Malformed("it is neither a verifier key nor PEM")
    key = text_of_base64(parts[2])
    if not is_key_name(parts[0]) or len(key) != 33 or key[0] != 1 or parts[1] != key_id(parts[0], key[1:]).hex():
        raise Malformed("it isn't an Ed25519 key with its id")
    return parts[0], key[1:]


def is_key_name(name):
    return 0 < len(name.encode()) <= 200 and not re.search(r"[\s\0-\x1f\x7f+]", name)


def key_id(name, key, kind=1):
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:4]


def read_witness(text):
    """The name and the 32 bytes of a witness's key, which may be written as a key that signs or as one that cosigns."""
    parts = text.strip().split("+", 2)
    key = text_of_base64(parts[2]) if len(parts) == 3 else b""
    if not is_key_name(parts[0]) or len(key) != 33 or key[0] not in (1, 4) or parts[1] != key_id(parts[0], key[1:], key[0]).hex():
        raise Malformed("it isn't the key of a witness")
    return parts[0], key[1:]


def reason_against_cosignature(checkpoint, witness):
    name, public = witness
    _, size, _, _, text, signatures = checkpoint
    own = [s[2] for s in signatures if s[0] == name and s[1] == key_id(name, public, 4)]
    if not own:
        return f"the checkpoint of {size} entries isn't cosigned by the witness {name}"
    for cosignature in own:
        time = int.from_bytes(cosignature[:8], "big")
        message = b"cosignature/v1\ntime %d\n" % time + text
        if len(cosignature) != 72 or time >= 2**63 or not ed25519_verifies(public, message, cosignature[8:]):
            return f"the cosignature of the witness {name} under the checkpoint of {size} entries is wrong"
    return None


def reason_against(checkpoint, key, witnesses=()):
    if checkpoint[1] == 0 and checkpoint[2] != Edge().root():
        return "the checkpoint of 0 entries doesn't have the root of an empty tree"
    for witness in witnesses:
        reason = reason_against_cosignature(checkpoint, witness)
        if reason:
            return reason
    if key is None:
        return None
    name, public = key
    _, seq, _, owner, text, signatures = checkpoint
    own = [s for s in signatures if (name is None or s[0] == name) and s[1] == key_id(s[0], public)]
    if not own:
        return f"the checkpoint of {seq} entries isn't signed with the given key"
    if not all(ed25519_verifies(public, text, signature) for _, _, signature in own):
        return f"the signature of the checkpoint of {seq} entries is wrong"
    if owner not in [s[0] for s in own]:
        return f"the origin of the checkpoint of {seq} entries doesn't begin with the name of its key"
    return None


# Ed25519, RFC 8032, section 5.1: points in extended coordinates (X, Y, Z, T).
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def add(a, b):
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def point_of(encoded):
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def ed25519_verifies(public, text, signature):
    if len(signature) != 64:
        return False
    key, r, s = point_of(public), point_of(signature[:32]), int.from_bytes(signature[32:], "little")
    if key is None or r is None or s >= ORDER:
        return False
    base = point_of((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + text).digest(), "little") % ORDER
    left, right = times(s, base), add(r, times(k, key))
    return not ((left[0] * right[2] - right[0] * left[2]) % P or (left[1] * right[2] - right[1] * left[2]) % P)


# --- certificates -----------------------------------------------------------------------------------------------------


# What is before each part of a page that differs between pages of one version; a part ends with the next "<".
MARKERS = (
    "<title>Certificate ",
    '<textarea id="key" rows="2" spellcheck="false" autocomplete="off" aria-labelledby="key-title">',
    '<script type="application/json" id="certificate">',
)
# SHA-256 of the pages of all versions, with {} in place of each part.
FRAMES = frozenset(["20648842b0d73a7acab1ca3163dbdb5cfd7778b9dc666752144b8e3cce4ee3ef"])
PARTS = {"subject": SUBJECT, "context": CONTEXT}
HASHES = PROOF[:4]


def read_object(text):
    """The members of an object, each once, with strings, whole numbers, null and such objects as values."""

    def refuse(text):
        raise Malformed(f"{text} isn't allowed")

    try:
        members = json.loads(
            text, object_pairs_hook=unique, parse_int=whole, parse_float=refuse, parse_constant=refuse)
        json.dumps(members, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from error
    if not isinstance(members, dict):
        raise Malformed("it isn't an object")
    return members


def read_columns(members, names):
    """Columns as PostgreSQL's text."""
    if not isinstance(members, dict) or members.keys() != set(names):
        raise Malformed("unknown or missing members")
    for name, value in members.items():
        if value is not None and type(value) is not (int if name in NUMBERS else str):
            raise Malformed(f"{name} has the wrong type")
    return {
        name: value if value is None else microseconds(value) if name in TIMES else str(value)
        for name, value in members.items()
    }


def note_text(checkpoint):
    """A checkpoint as it is published."""
    signatures = ((name, base64.b64encode(id + signature).decode()) for name, id, signature in checkpoint[5])
    return checkpoint[4].decode() + "\n" + "".join(f"\u2014 {name} {text}\n" for name, text in signatures)


def read_proof(text):
    """The index, the hashes and the checkpoint of a tlog-proof. Nothing else may be in it: neither extra data, which no one
    has signed, nor an empty line too many."""
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or lines.pop(0) != "c2sp.org/tlog-proof@v1":
        raise Malformed("it isn't a tlog-proof")
    index = re.fullmatch("index (0|[1-9][0-9]*)", lines.pop(0) if lines else "")
    hashes = [text_of_base64(line) for line in lines]
    checkpoints = read_checkpoints(note)
    if not index or len(checkpoints) != 1 or len(hashes) > 63 or any(len(item) != 32 for item in hashes):
        raise Malformed("it isn't a tlog-proof")
    if note_text(checkpoints[0]) != note:
        raise Malformed("a note isn't written as it is published")
    return whole(index[1]), hashes, checkpoints[0]


def read_page(text):
    """The title's id and the certificate in a page. A page can hide another certificate than is found here, and show that, in
    more ways than can be listed: it isn't read unless it is, but for its parts, one that customerd makes."""
    parts, frame, rest = [], "", text
    for marker in MARKERS:
        before, found, rest = rest.partition(marker)
        part = rest[: max(rest.find("<"), 0)]
        frame += before + found + "{}"
        rest = rest[len(part) :]
        parts.append(part)
    if hashlib.sha256((frame + rest).encode()).hexdigest() not in FRAMES:
        raise Malformed("the page isn't one that customerd makes, so it can show something else than it holds; only the JSON in "
                        "it can be verified, as a file of its own")
    key = parts[1].replace("&quot;", '"').replace("&lt;", "<").replace("&amp;", "&")
    if key.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;") != parts[1] or "-----BEGIN" in key:
        raise Malformed("the key in the page isn't one")
    if read_key(key)[0] != key.partition("+")[0]:
        raise Malformed("the key in the page isn't one")
    return parts[0], parts[2]


def read_certificate(text):
    """What a certificate says: its entry, what is disclosed of it by the name of the part, and its proof."""
    title, text = read_page(text) if text.startswith("<!doctype html>") else (None, text)
    members = read_object(text)
    if (
        members.get("format") != "customerd-certificate-v1"
        or not isinstance(members.get("entry"), dict)
        or not isinstance(members.get("disclosed"), dict)
        or not isinstance(members.get("proof"), str)
    ):
        raise Malformed("it isn't a customerd-certificate-v1")
    entry = read_columns(members["entry"], CANONICAL)
    rest = {name: value for name, value in members.items() if name not in ("format", "entry", "disclosed", "proof")}
    entry.update(read_columns(rest, HASHES))
    if entry["seq"] is None or entry["app_id"] is None:
        raise Malformed("seq or app_id is null")
    if title not in (None, entry["id"]):
        raise Malformed("the page has the title of another")
    disclosed = {}
    for part, values in members["disclosed"].items():
        if part not in PARTS or not isinstance(values, dict) or not isinstance(values.get("salt"), str):
            raise Malformed("its disclosed parts are malformed")
        disclosed[part] = read_columns(values, ["salt", *PARTS[part]])
    return entry, disclosed, read_proof(members["proof"])


def certificate_fault(entry, disclosed, proof, key, witnesses):
    """Why a certificate doesn't prove what it says; None if it does."""
    seq = int(entry["seq"])
    parts = [data(entry, name) for name in ("subject_commitment", "context_commitment", "previous_hash")]
    is_hashed = all(part is not None and len(part) == 32 for part in parts)
    value = hashlib.sha256(form(CANONICAL, entry) + b"".join(parts)).digest() if is_hashed else None
    if value is None or value != data(entry, "hash"):
        return "its hash doesn't match its members"
    for part in PARTS:
        if part in disclosed:
            shown = disclosed[part] | {"commitment": entry[f"{part}_commitment"]}
            if not commits(shown, "commitment", PARTS[part], "salt"):
                return f"the disclosed {part} doesn't match its commitment"
    index, path, checkpoint = proof
    app, size, root = checkpoint[:3]
    if index != seq - 1:
        return f"the proof is about entry {index + 1}, not about entry {seq}"
    if app != entry["app_id"]:
        return "the checkpoint is about another chain"
    if not includes(leaf_hash(value), index, size, root, path):
        return f"the proof doesn't lead from entry {seq} to the root of the checkpoint"
    return reason_against(checkpoint, key, witnesses)


def certificate_verdict(text, key, witnesses):
    try:
        entry, disclosed, proof = read_certificate(text)
    except Malformed as error:
        return verdict_of(f"the certificate is invalid: {error}", 0)
    fault = certificate_fault(entry, disclosed, proof, key, witnesses)
    verdict = verdict_of(fault, 1, entry["app_id"], int(entry["seq"]))
    if fault is None:
        # What is proven, so that no one takes it for a certificate of something else.
        verdict["certificate"] = {
            "entry": entry["id"] or "",
            "seq": int(entry["seq"]),
            "app_id": entry["app_id"],
            "action": entry["action"] or "",
            "outcome": entry["outcome"] or "",
            "customer_id": entry["customer_id"],
            "checkpoint_size": proof[2][1],
            "signed_by": proof[2][3],
        }
    return verdict


# --- tiles: C2SP tlog-tiles -------------------------------------------------------------------------------------------


def tile_path(level, index, width=256):
    parts = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        parts.insert(0, f"x{index % 1000:03}")
    return "/".join(["tile", str(level), *parts]) + ("" if width == 256 else f".p/{width}")


def read_tile(directory, path, length):
    try:
        with open(os.path.join(directory, path), "rb") as file:
            contents = file.read()
    except OSError as error:
        raise Malformed(f"{path} can't be read") from error
    if len(contents) != length:
        raise Malformed(f"{path} has the wrong length")
    return contents


def tiles_fault(directory, key, witnesses, old):
    """The size of a tree of tiles, and why it isn't the one that was signed; None if it is."""
    checkpoints = read_checkpoints(read_text(os.path.join(directory, "checkpoint")))
    if len(checkpoints) != 1:
        raise Malformed("checkpoint isn't one note")
    app, size, root = checkpoints[0][:3]
    # The file may hold those of other chains, too.
    older = [checkpoint for checkpoint in read_checkpoints(read_text(old)) if checkpoint[0] == app] if old else []
    if old and not older:
        return size, f"{old} holds no checkpoint of this tree"
    for checkpoint in checkpoints + older:
        reason = reason_against(checkpoint, key, witnesses if checkpoint in checkpoints else ())
        if reason:
            return size, reason
    edge, full, roots = Edge(), {}, {0: Edge().root()}
    for start in range(0, size, 256):
        width = min(256, size - start)
        bundle = read_tile(directory, tile_path("entries", start // 256, width), 34 * width)
        tile = read_tile(directory, tile_path(0, start // 256, width), 32 * width)
        for index in range(width):
            if bundle[34 * index : 34 * index + 2] != b"\0\x20":
                return size, f"entry {start + index + 1} doesn't have 32 bytes"
            leaf = leaf_hash(bundle[34 * index + 2 : 34 * index + 34])
            if leaf != tile[32 * index : 32 * index + 32]:
                return size, f"entry {start + index + 1} isn't the leaf of its tile"
            for level, _, value in edge.append(leaf):
                full.setdefault(level, []).append(value)
            if any(checkpoint[1] == edge.size for checkpoint in older):
                roots[edge.size] = edge.root()
    for level, hashes in full.items():
        for start in range(0, len(hashes), 256):
            part = hashes[start : start + 256]
            path = tile_path(level, start // 256, len(part))
            if read_tile(directory, path, 32 * len(part)) != b"".join(part):
                return size, f"{path} isn't the tile of the tree"
    if edge.root() != root:
        return size, "the tree doesn't have the root of its checkpoint"
    for checkpoint in older:
        if roots.get(checkpoint[1]) != checkpoint[2]:
            return size, f"the tree doesn't continue the checkpoint of {checkpoint[1]} entries"
    return size, None


# --- the command ------------------------------------------------------------------------------------------------------


def trusted(contents, key, app=None, witnesses=()):
    """The (app, size, root) of the checkpoints that can be trusted, and why the first of the others can't. Every chain begins
    with the tree of no entries."""
    heads, fault = [], None
    try:
        for checkpoint in read_checkpoints(contents):
            if app is not None and checkpoint[0] != app:
                continue
            reason = reason_against(checkpoint, key, witnesses)
            if reason:
                fault = fault or (checkpoint[0], None, reason)
            else:
                heads.append(checkpoint[:3])
        return heads, fault
    except Malformed as error:
        return [], (None, None, f"the checkpoint file is invalid: {error}")


def missed(walk, heads, app):
    """The fault that nothing confirms a chain that was named, if so: (app, None, reason) or None."""
    named = {head[0] for head in heads} | ({app} if app else set())
    apps = [chain for chain in walk.unconfirmed if chain in named]
    if not apps and not walk.agreements and app:
        apps = [app]
    if apps:
        return apps[0], None, "no checkpoint of the file was compared with the chain: none is of entries that are there"
    return None if walk.agreements else (None, None, "no checkpoint of the file was compared with a chain")


def unwitnessed(walk, witnesses):
    """The fault that a chain has no cosigned checkpoint, if so: it may have been rewritten together with all that the operator
    has. A checkpoint without the cosignatures wasn't taken at all."""
    if not witnesses or not walk.unwitnessed:
        return None
    names = ", ".join(name for name, _ in witnesses)
    return walk.unwitnessed[0], None, f"no checkpoint of the chain that is cosigned by {names} was compared with it"


def answer(walk, fault=None):
    app, seq, reason = walk.broken or fault or (None, None, None)
    return {
        "entries": walk.entries,
        "verified": walk.verified,
        "broken_at": seq,
        "broken_app": app,
        "reason": reason,
    }


def read_text(path):
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def read_given(value, read):
    """What a key or the file with one holds."""
    try:
        return read(value)
    except Malformed:
        return read(read_text(value))


def print_verdict(verdict):
    print(json.dumps(verdict, ensure_ascii=False, separators=(",", ":")))
    return 0 if verdict["reason"] is None else 1


def verdict_of(fault, entries, app=None, seq=None):
    verified = entries if fault is None else 0
    broken = (None, None) if fault is None else (seq, app)
    return dict(zip(("entries", "verified", "broken_at", "broken_app", "reason"), (entries, verified, *broken, fault)))


def verify_certificate(options, key, witnesses):
    return certificate_verdict(read_text(options.file), key, witnesses)


def verify_tiles(options, key, witnesses):
    try:
        size, fault = tiles_fault(options.directory, key, witnesses, options.old)
    except Malformed as error:
        size, fault = 0, str(error)
    return verdict_of(fault, size)


def verify_export(options, key, witnesses):
    heads, fault = [], None
    if options.checkpoint:
        heads, fault = trusted(read_text(options.checkpoint), key, options.app, witnesses)
        if key is None:
            print("The signature of the checkpoint wasn't verified: no --public-key was given.", file=sys.stderr)
    walk = Walk(head for head in heads if head[1] > 0)
    if options.export == "-":
        walk_lines(sys.stdin.buffer, walk, options.app)
    else:
        with open(options.export, "rb") as file:
            walk_lines(file, walk, options.app)
    if walk.part_count:
        print(f"Chains exported in part: {walk.part_count}. Their other entries weren't verified.", file=sys.stderr)
    if options.checkpoint:
        fault = fault or missed(walk, heads, options.app) or unwitnessed(walk, witnesses)
        if walk.unconfirmed:
            print(f"Chains not compared with a checkpoint: {len(walk.unconfirmed)}.", file=sys.stderr)
    return answer(walk, fault)


def main():
    parser = argparse.ArgumentParser(
        description="Verifies an export of the audit trail; `certificate FILE` and `tiles DIR` verify those. "
        "See docs/audit-chain.md."
    )
    command = sys.argv[1] if sys.argv[1:2] in (["certificate"], ["tiles"]) else None
    if command == "certificate":
        parser.add_argument("file", help="a certificate, JSON or page")
    elif command == "tiles":
        parser.add_argument("directory", help="what `customerd audit export --tiles` wrote")
        parser.add_argument("--old", help="an older checkpoint, which the tree has to continue")
    else:
        parser.add_argument("export", nargs="?", default="-", help="what `customerd audit export` wrote; - for stdin")
        parser.add_argument("--app", type=str.lower, help="only the chain of this app")
        parser.add_argument("--checkpoint", help="a file that `customerd audit checkpoint` wrote")
    parser.add_argument("--public-key", required=bool(command), help="the key that must have signed, or a file with one")
    parser.add_argument("--witness-key", action="append", default=[], help="the key of a witness that must have cosigned")
    options = parser.parse_args(sys.argv[2:] if command else None)
    if not command and not options.checkpoint and (options.public_key or options.witness_key):
        parser.error("An export holds no checkpoints: --public-key and --witness-key need --checkpoint.")
    verify = {"certificate": verify_certificate, "tiles": verify_tiles, None: verify_export}[command]
    try:
        key = read_given(options.public_key, read_key) if options.public_key else None
        witnesses = [read_given(value, read_witness) for value in options.witness_key]
        return print_verdict(verify(options, key, witnesses))
    except (OSError, UnicodeDecodeError, Malformed) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
