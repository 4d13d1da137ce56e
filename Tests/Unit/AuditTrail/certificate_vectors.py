"""Verifies the certificates of certificate_vectors.json with scripts/verify-audit.py: each verdict has to be the one there.

usage: certificate_vectors.py VERIFIER VECTORS
"""

import json
import sys

from verifier import load


def agrees(answer, verdict):
    """Whether they are the same; a reason that ends with a colon is the beginning of one."""
    reason = verdict["reason"]
    if reason and reason.endswith(": "):
        verdict = verdict | {"reason": answer["reason"]}
        return answer == verdict and (answer["reason"] or "").startswith(reason)
    return answer == verdict


def main(verifier, path):
    verify = load(verifier)
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    key, witness = verify.read_key(vectors["public_key"]), verify.read_witness(vectors["witness_key"])
    for case in vectors["cases"]:
        text = vectors["certificate"]
        for old, new in case.get("replace", []):
            assert old in text, case["about"]
            text = text.replace(old, new)
        text = case.get("around", "{certificate}").replace("{certificate}", text)
        answer = verify.certificate_verdict(text, key, [witness])
        # What is valid says what it proves, and nothing else does.
        summary = vectors["summary"] if case["verdict"]["verified"] else None
        assert answer.pop("certificate", None) == summary, f"{case['about']}: {answer}"
        assert agrees(answer, case["verdict"]), f"{case['about']}: {answer}"
    print(f"all of {len(vectors['cases'])} vectors hold")


main(*sys.argv[1:])
