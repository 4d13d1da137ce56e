"""Computes the roots and proofs of merkle_vectors.json with scripts/verify-audit.py and verifies them.

usage: merkle_vectors.py VERIFIER VECTORS
"""

import json
import sys

from verifier import load


def flipped(proof):
    """The proof with each of its hashes changed in one bit."""
    for index, item in enumerate(proof):
        yield proof[:index] + [bytes([item[0] ^ 1]) + item[1:]] + proof[index + 1 :]


def main(verifier, path):
    verify = load(verifier)
    with open(path, encoding="utf-8") as file:
        trees = json.load(file)["trees"]
    checked = 0
    for tree in trees:
        count = max(root["size"] for root in tree["roots"])
        data = [bytes.fromhex(leaf) for leaf in tree["leaves"]] if "leaves" in tree else [b"%d" % i for i in range(count)]
        leaves = [verify.leaf_hash(item) for item in data]
        roots = {}
        edge = verify.Edge()
        for leaf in leaves:
            edge.append(leaf)
            roots[edge.size] = edge.root()
        for root in tree["roots"]:
            assert roots[root["size"]].hex() == root["root"], root["size"]
            checked += 1
        for item in tree["inclusion"]:
            proof = [bytes.fromhex(hash) for hash in item["proof"]]
            index, size = item["index"], item["size"]
            assert verify.includes(leaves[index], index, size, roots[size], proof), item
            for wrong in [*flipped(proof), proof + [leaves[0]], proof[:-1] if proof else [leaves[0]]]:
                assert not verify.includes(leaves[index], index, size, roots[size], wrong), item
            checked += 1
        for item in tree["consistency"]:
            proof = [bytes.fromhex(hash) for hash in item["proof"]]
            old, new = item["old"], item["new"]
            assert verify.is_consistent(old, roots[old], new, roots[new], proof), item
            for wrong in [*flipped(proof), proof + [leaves[0]], proof[:-1] if proof else [leaves[0]]]:
                assert not verify.is_consistent(old, roots[old], new, roots[new], wrong), item
            checked += 1
    print(f"all of {checked} vectors hold")


main(*sys.argv[1:])
