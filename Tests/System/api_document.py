"""Compares the API's document for readers with its description for machines, in both directions.

usage: api_document.py [--write] API.md OPENAPI.json ENV.example
"""

import json
import pathlib
import re
import subprocess
import sys

write = sys.argv[1] == "--write"
document, description, example = [pathlib.Path(name) for name in sys.argv[1 + write:]]
api = json.loads(description.read_text())
text = document.read_text()
problems = []


def resolved(node):
    while "$ref" in node:
        path = node["$ref"].removeprefix("#/").split("/")
        node = api
        for name in path:
            node = node[name]
    return node


# --- the tables that are generated --------------------------------------------------------------------------------------


def operations():
    """Yields (method, path, operation, parameters) in the order of the description."""
    for path, item in api["paths"].items():
        shared = item.get("parameters", [])
        for method, operation in item.items():
            if method != "parameters":
                yield method.upper(), path, operation, [resolved(one) for one in shared + operation.get("parameters", [])]


def permission(operation):
    sentence = re.search(r"Needs ([^.]*)\.", operation.get("description", ""))
    if not sentence:
        return "none"
    return ", ".join(f"`{name}`" for name in re.findall(r"\w+:\w+", sentence[1])) or "any key"


def values(schema):
    """What a parameter may be, in a few words."""
    schema = resolved(schema)
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "minimum" in schema:
        kind = f"{schema['minimum']} to {schema['maximum']}"
    elif schema.get("type") == "boolean":
        kind = "`true`, `false`"
    else:
        kind = {"uuid": "UUID", "date-time": "RFC 3339 time"}.get(schema.get("format"), "text")
        if "maxLength" in schema:
            kind += f", at most {schema['maxLength']} characters"
    return kind + (f"; default {json.dumps(schema['default'])}" if "default" in schema else "")


def operations_table():
    yield "| operation | permission | parameters | statuses |"
    yield "|---|---|---|---|"
    for method, path, operation, parameters in operations():
        names = ", ".join(
            f"`{one['name']}`" + (" (required)" if one.get("required") and one["in"] != "path" else "")
            for one in parameters if one["in"] != "path")
        yield f"| `{method} {path}` | {permission(operation)} | {names} | {', '.join(operation['responses'])} |"


def parameters_table():
    yield "| parameter | in | values |"
    yield "|---|---|---|"
    seen = {}
    for _, _, _, parameters in operations():
        for one in parameters:
            row = f"| `{one['name']}` | {one['in']} | {values(one['schema'])} |"
            seen.setdefault((one["in"], one["name"], row), None)
    for _, _, row in sorted(seen, key=lambda key: (("path", "query", "header").index(key[0]), key[1].lower())):
        yield row


for name, rows in (("operations", operations_table), ("parameters", parameters_table)):
    block = re.compile(rf"(<!-- generated: {name} -->\n)(.*?)(<!-- end -->)", re.S)
    wanted = "\n".join(rows()) + "\n"
    found = block.search(text)
    if not found:
        problems.append(f"there is no generated table of {name}")
    elif write:
        text = block.sub(lambda match: match[1] + wanted + match[3], text)
    elif found[2] != wanted:
        problems.append(f"the table of {name} isn't that of {description.name}: Tests/System/api --write")
if write:
    document.write_text(text)

# --- the sentences that are written by hand -----------------------------------------------------------------------------

prose = re.sub(r"<!-- generated: .*?<!-- end -->", "", text, flags=re.S)


def section(title):
    found = re.search(rf"^## \d+\. {re.escape(title)}\n(.*?)(?=^## |\Z)", prose, re.M | re.S)
    if not found:
        problems.append(f"there is no section {title}")
        return ""
    return found[1]


def compare(what, documented, described):
    for one in sorted(described - documented):
        problems.append(f"{what}: {one} is in the description, not in the document")
    for one in sorted(documented - described):
        problems.append(f"{what}: {one} is in the document, not in the description")


# Headings are stable names: comments cite them. The list of contents must agree with them.
headings = re.findall(r"^## (\d+)\. (.+)$", prose, re.M)
contents = re.findall(r"^(\d+)\. \[(.+)\]\(#", prose, re.M)
if headings != contents or [number for number, _ in headings] != [str(n + 1) for n in range(len(headings))]:
    problems.append("the list of contents isn't that of the headings")
for target in re.findall(r"\]\(#([^)]+)\)", prose):
    known = {re.sub(r"[^\w -]", "", f"{number}. {name}").lower().replace(" ", "-") for number, name in headings}
    if target not in known:
        problems.append(f"there is no heading for the link #{target}")

# Every operation is explained by its path, or by its last part where the paragraph names the rest.
for method, path, _, _ in operations():
    tail = path.removeprefix("/api/v0/customers/{id}")
    if path not in prose and f"…{tail}" not in prose and not path.startswith("/console/"):
        problems.append(f"{method} {path} isn't explained")
paths = {path for _, path, _, _ in operations()}
for path in set(re.findall(r"`(?:GET|POST|PUT|PATCH|DELETE) (/[^ `]*)`", prose)):
    # A path for the sake of an example is /path.
    if path not in paths | {"/path"}:
        problems.append(f"{path} isn't in the description")

# Errors: status, reason and, where the description gives an example, the message.
rows = [row.split(" | ") for row in re.findall(r"^\| (\d{3} \|.*?) \|$", section("Errors"), re.M)]
documented = {(row[0], row[1]) for row in rows}
messages = {message for row in rows for message in re.findall(r"`([^`]+)`", row[2])}
described, examples = set(), set()
for response in api["components"]["responses"].values():
    content = response.get("content", {}).get("application/json", {})
    for body in [content.get("example"), *(one["value"] for one in content.get("examples", {}).values())]:
        if body and "statusCode" in body:
            described.add((str(body["statusCode"]), body["error"]))
            examples.add(body["message"])
statuses = {status for _, _, operation, _ in operations() for status in operation["responses"]}
compare("errors", documented, described)
for message in sorted(examples - messages):
    problems.append(f"errors: the message {message!r} isn't in the document")
compare("statuses of errors", {status for status, _ in documented} - {"405"}, {one for one in statuses if one >= "400"})

# Headers of requests, and closed lists.
headers = {one["name"] for _, _, _, parameters in operations() for one in parameters if one["in"] == "header"}
credentials = {scheme["name"] for scheme in api["components"]["securitySchemes"].values()}
table = section("Requests").split("\n\n")[0]
named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`([^`]+)`", row)}
compare("headers of requests", named, headers | credentials)
answers = {name.lower() for name in re.findall(r"`([A-Za-z-]+)(?=[:`])", section("Answers"))}
for response in api["components"]["responses"].values():
    for name in response.get("headers", {}):
        if name.lower() not in answers:
            problems.append(f"the header {name} of answers isn't explained")
compare("outcomes", set(re.findall(r"^\| `([A-Z_]+)` \|", section("Audit"), re.M)),
        set(api["components"]["schemas"]["Outcome"]["enum"]))
actions = set(re.findall(r"`((?:customer|deletion|hold|key|trail|webhook)\.[a-z_-]+)`", section("Audit")))
compare("actions", actions, set(api["components"]["schemas"]["Action"]["enum"]))
members = [name for row in re.findall(r"^\| (`.*?) \|", section("Records"), re.M) for name in re.findall(r"`([^`]+)`", row)]
if members != api["components"]["schemas"]["Customer"]["required"]:
    problems.append("members of the record: another order, or other ones")
columns = [name for row in re.findall(r"^\| (`[a-z].*?) \|", section("Audit"), re.M) for name in re.findall(r"`([a-z_]+)`", row)]
entry = api["components"]["schemas"]["AuditEntry"]
if columns != list(entry["properties"]):
    problems.append(f"columns of an entry: another order, or other ones than {', '.join(entry['properties'])}")

# Settings: those of the example file.
settings = set(re.findall(r"`((?:CUSTOMERD|LOG)_\w+|DATABASE_URL)`", section("Settings")))
compare("settings", settings, set(re.findall(r"^#([A-Z_]+)=", example.read_text(), re.M)))

# Comments cite this page by the names of its sections.
sources = subprocess.run(["git", "grep", "-hoE", r"docs/api\.md, [A-Z][A-Za-z ]+", "--", "Sources", "sql", "Tests"],
                         capture_output=True, text=True, check=False).stdout
for citation in sorted(set(sources.splitlines())):
    cited = citation.removeprefix("docs/api.md, ")
    if not any(cited == name or cited.startswith(f"{name} ") for _, name in headings):
        problems.append(f"a comment cites a section that isn't there: {citation}")

for problem in problems:
    print(f"{document}: {problem}", file=sys.stderr)
sys.exit(bool(problems))
