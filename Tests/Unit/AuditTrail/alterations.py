"""Judges alterations of an export with scripts/verify-audit.py, many in one process.

usage: alterations.py VERIFIER EXPORT CHECKPOINTS CASES > ANSWERS

A line of CASES is {"splices": [{"from", "to", "lines"}, …], "signed": bool}: replace lines from…to of the export, the
last splice first; whether the checkpoints are known. What comes before the first splice is the same in every case, so
it is walked once, and cases go on from a copy of the walk.
"""

import copy
import json
import sys

from verifier import load

STEP = 100


def take(walk, entry, head, part):
    assert not part
    if entry:
        walk.take(entry)
    if head:
        walk.take_head(head)


def main(verifier, export, checkpoints, cases):
    verify = load(verifier)
    heads, fault = verify.trusted(verify.read_text(checkpoints), None)
    assert heads and not fault
    with open(export, "rb") as file:
        base = [verify.read_line(line) for line in file]
    walks = {}
    for signed in (False, True):
        walk = verify.Walk(heads if signed else [])
        walks[signed] = []
        for index, item in enumerate(base):
            if index % STEP == 0:
                walks[signed].append(copy.deepcopy(walk))
            take(walk, *item)
    for line in open(cases, encoding="utf-8"):
        case = json.loads(line)
        first = min(splice["from"] for splice in case["splices"]) // STEP
        first = min(first, len(walks[False]) - 1)
        lines = list(base)
        for splice in case["splices"]:
            lines[splice["from"] : splice["to"]] = splice["lines"]
        walk = copy.deepcopy(walks[case["signed"]][first])
        for item in lines[first * STEP :]:
            try:
                take(walk, *(verify.read_line(item.encode()) if isinstance(item, str) else item))
            except verify.Malformed as error:
                walk.stop(str(error))
                break
        else:
            walk.finish()
        answer = verify.answer(walk)
        print(json.dumps([answer[name] for name in ("entries", "verified", "broken_at", "broken_app")]))


main(*sys.argv[1:])
