"""Reads a dashboard as Grafana does, by its foundation SDK, which is made of Grafana's own schemas, and looks at the layout.

usage: manifests_dashboard.py FILE
"""

import json
import pathlib
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.cog.runtime import panelcfg_config
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

COLUMNS = 24  # https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/

written = json.loads(pathlib.Path(sys.argv[1]).read_text())
problems = []


def compare(given, understood, place):
    """What Grafana doesn't know it leaves out, without a word."""
    if isinstance(given, dict) and isinstance(understood, dict):
        for name, value in given.items():
            if name in understood:
                compare(value, understood[name], f"{place}.{name}")
            else:
                problems.append(f"{place}.{name}: Grafana has no such member")
    elif isinstance(given, list) and isinstance(understood, list) and len(given) == len(understood):
        for position, (value, other) in enumerate(zip(given, understood)):
            compare(value, other, f"{place}[{position}]")
    elif given != understood:
        problems.append(f"{place}: {given} becomes {understood}")


register_default_plugins()  # the kinds of panels and queries
compare(written, json.loads(JSONEncoder().encode(Dashboard.from_json(written))), "dashboard")

known_units = {value for value in vars(units).values() if isinstance(value, str)}
taken = {}
for panel in written["panels"]:
    title, place = panel.get("title", panel["id"]), panel["gridPos"]
    if panelcfg_config(panel["type"]) is None:
        problems.append(f"{title}: Grafana has no panel {panel['type']}")
    unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit", "none")
    if unit not in known_units:
        problems.append(f"{title}: Grafana has no unit {unit}")
    if place["x"] + place["w"] > COLUMNS:
        problems.append(f"{title} is wider than the {COLUMNS} columns")
    for cell in ((x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])):
        if cell in taken:
            problems.append(f"{title} lies over {taken[cell]}")
            break
        taken[cell] = title
if len({panel["id"] for panel in written["panels"]}) < len(written["panels"]):
    problems.append("two panels have the same id")

for problem in problems:
    print(problem, file=sys.stderr)
sys.exit(bool(problems))
