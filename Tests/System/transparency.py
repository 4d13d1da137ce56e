"""Verifies what customerd publishes with aics-tlog, a package of others: checkpoints, cosignatures, proofs and tiles.

usage: transparency.py tiles DIR VKEY WITNESS-VKEY [OLD-CHECKPOINT]
       transparency.py proof FILE ENTRY-HASH VKEY
"""

import base64
import pathlib
import sys

import aics_tlog as tlog


def opened(text, vkey, witnesses=()):
    """The checkpoint in a note that the key has signed and all of the witnesses have cosigned."""
    result = tlog.verify_checkpoint(
        tlog.parse_note(text), tlog.parse_vkey(vkey), [tlog.parse_vkey(key) for key in witnesses], quorum=len(witnesses)
    )
    assert result.ok, result.error
    return tlog.parse_checkpoint(tlog.parse_note(text).text)


def tiles(path, vkey, witness, old=None):
    checkpoint = opened(pathlib.Path(path, "checkpoint").read_text(), vkey, [witness])
    reader = tlog.FileSystemTileReader(path)
    report = tlog.audit_tiles(reader, checkpoint.size, checkpoint.root)
    assert tlog.tree_root_from_tiles(reader, checkpoint.size) == checkpoint.root
    for index in {0, 255, 256, checkpoint.size // 2, checkpoint.size - 1}:
        proof = tlog.inclusion_proof_from_tiles(reader, index, checkpoint.size)
        entry = tlog.read_entry(reader, index, checkpoint.size)
        assert len(entry) == 32
        assert tlog.verify_leaf_inclusion(entry, index, checkpoint.size, proof, checkpoint.root)
    if old:
        before = opened(pathlib.Path(old).read_text(), vkey)
        proof = tlog.consistency_proof_from_tiles(reader, before.size, checkpoint.size)
        assert tlog.verify_consistency(before.size, checkpoint.size, before.root, checkpoint.root, proof)
    print(f"{report}")


def proof(path, entry, vkey):
    head, note = pathlib.Path(path).read_text().split("\n\n", 1)
    title, index, *hashes = head.split("\n")
    assert title == "c2sp.org/tlog-proof@v1" and index.startswith("index ")
    checkpoint = opened(note, vkey)
    path = [base64.b64decode(line, validate=True) for line in hashes]
    index = int(index.removeprefix("index "))
    assert tlog.verify_leaf_inclusion(bytes.fromhex(entry), index, checkpoint.size, path, checkpoint.root)
    print(f"entry {index} is in the tree of {checkpoint.size}")


{"tiles": tiles, "proof": proof}[sys.argv[1]](*sys.argv[2:])
