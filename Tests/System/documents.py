"""Checks the links of all Markdown files, and the paths that they name in backquotes."""

import pathlib
import re
import subprocess
import sys

files = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()
# A file that was added is there before git knows it, one that was removed isn't.
present = {name for name in files if pathlib.Path(name).exists()}
folders = {str(parent) for name in present for parent in pathlib.PurePath(name).parents}
problems = []


def anchors(text):
    """The anchors that a forge makes of headings."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    for heading in re.findall(r"^#+ (.+)$", text, re.M):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        yield re.sub(r"[^\w -]", "", plain).lower().replace(" ", "-")


def exists(path):
    return path in present or path in folders or pathlib.Path(path).exists()


for name in sorted(present):
    if not name.endswith(".md"):
        continue
    page = pathlib.Path(name)
    text = page.read_text()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)

    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve().relative_to(pathlib.Path.cwd()) if path else page
        if not exists(str(other)):
            problems.append(f"{name}: there is no {target}")
        elif anchor and anchor not in set(anchors(other.read_text())):
            problems.append(f"{name}: there is no heading for {target}")

    # Paths from the root of the repository, and those of Swift files from Sources.
    for path in re.findall(r"`((?:Sources|Tests|scripts|sql|deploy|docs|clients|Benchmarks)/[\w./-]*\w)`", prose):
        if not exists(path) and not path.endswith("/NAME"):
            problems.append(f"{name}: there is no {path}")
    for path in re.findall(r"`((?:AuditTrail|Customers|CustomerHTTP|LibPQ|Administration|customerd)/[\w./+-]+\.swift)`", prose):
        if f"Sources/{path}" not in present:
            problems.append(f"{name}: there is no Sources/{path}")
    # The name of a Swift file alone: somewhere under Sources or Tests.
    for file in re.findall(r"`([A-Z][\w+]+\.swift)`", prose):
        if not any(one.endswith(f"/{file}") for one in present):
            problems.append(f"{name}: there is no {file}")
    # A suite of tests.
    for suite in set(re.findall(r"`([A-Z]\w+Tests)`", prose)):
        if not any(one.endswith(f"/{suite}.swift") for one in present):
            problems.append(f"{name}: there is no suite {suite}")

for problem in problems:
    print(problem, file=sys.stderr)
sys.exit(bool(problems))
