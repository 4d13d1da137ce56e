"""Says how many of the certificates in a file, one a line, scripts/verify-audit.py takes for valid.

usage: certificates.py VERIFIER FILE VKEY WITNESS-VKEY
"""

import sys

from verifier import load


def main(verifier, path, key, witness):
    verify = load(verifier)
    key, witness = verify.read_key(key), verify.read_witness(witness)
    with open(path, encoding="utf-8", newline="\n") as file:
        certificates = file.read().split("\n")
    valid = sum(verify.certificate_verdict(text, key, [witness])["reason"] is None for text in certificates)
    print(f"{valid} of {len(certificates)} are valid")


main(*sys.argv[1:])
