"""Judges proofs with scripts/verify-audit.py: each as it is, and with one bit flipped.

usage: every_proof.py VERIFIER FILE…

Of each proof a file holds: `i` or `c`; the size of the tree, the index of the leaf or the size of the older tree, and the
number of hashes, four bytes each, big-endian; the hashes. The data of a leaf is the decimal text of its index.
"""

import random
import struct
import sys

from verifier import load


class Tree:
    """Leaves and roots, made as they are asked for."""

    def __init__(self, verify):
        self.verify, self.edge, self.leaves = verify, verify.Edge(), []
        self.roots = [self.edge.root()]

    def grow(self, size):
        while len(self.leaves) < size:
            self.leaves.append(self.verify.leaf_hash(b"%d" % len(self.leaves)))
            self.edge.append(self.leaves[-1])
            self.roots.append(self.edge.root())


def proofs(path):
    with open(path, "rb") as file:
        data = file.read()
    offset = 0
    while offset < len(data):
        kind, size, index, count = struct.unpack_from(">cIII", data, offset)
        start = offset + 13
        offset = start + 32 * count
        yield kind, size, index, [data[place : place + 32] for place in range(start, offset, 32)]


def wrong(proof, root):
    """With one bit flipped; where there is none to flip, with a hash that doesn't belong there."""
    if not proof:
        return [root]
    place = random.randrange(len(proof))
    bits = int.from_bytes(proof[place], "big") ^ 1 << random.randrange(256)
    return proof[:place] + [bits.to_bytes(32, "big")] + proof[place + 1 :]


def main(verifier, *paths):
    random.seed(18)
    verify = load(verifier)
    tree = Tree(verify)
    counts = {b"i": 0, b"c": 0}
    refused = 0
    for path in paths:
        for kind, size, index, proof in proofs(path):
            tree.grow(max(size, 1))
            root = tree.roots[size]
            for given, is_right in ((proof, True), (wrong(proof, tree.roots[1]), False)):
                if kind == b"i":
                    accepted = verify.includes(tree.leaves[index], index, size, root, given)
                else:
                    accepted = verify.is_consistent(index, tree.roots[index], size, root, given)
                if is_right and accepted:
                    counts[kind] += 1
                elif not is_right and not accepted:
                    refused += 1
    print(f"{counts[b'i']} inclusion and {counts[b'c']} consistency proofs accepted, {refused} refused")


main(*sys.argv[1:])
