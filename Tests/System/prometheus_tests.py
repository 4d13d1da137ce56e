"""The alert rules and the dashboard, in a Prometheus that scrapes the service; Tests/System/prometheus runs this."""

import json
import os
import pathlib
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
import uuid

from setting import App

PROMETHEUS = os.environ["PROMETHEUS_URL"]
DASHBOARD = pathlib.Path(__file__).parents[2] / "deploy" / "grafana" / "customerd.json"


def ask(path, **parameters):
    """What Prometheus' API answers; http://prometheus.io/docs/prometheus/latest/querying/api/"""
    query = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"{PROMETHEUS}/api/v1/{path}?{query}", timeout=10) as response:
        return json.load(response)["data"]


def queries(panels):
    """Every query of a dashboard's panels with the title of its panel, and Grafana's variables as Grafana fills them."""
    for panel in panels:
        for target in panel.get("targets", []):
            query = target["expr"]
            for name, value in [("$__rate_interval", "1m"), ("$job", "customerd"), ("$instance", ".*")]:
                query = query.replace(name, value)
            yield panel["title"], query
        yield from queries(panel.get("panels", []))


class PrometheusTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.app = App()
        cls.dashboard = json.loads(DASHBOARD.read_text())

    def visit(self):
        """One of each kind of answer, so that every series moves."""
        self.app.office.delete(self.app.customer())
        self.app.office.delete(str(uuid.uuid4()))
        self.app.auditor.request("GET", "/api/v0/audit?limit=1")
        self.app.auditor.request("GET", "/api/v0/audit?limit=1", **{"x-client-secret": "cs_wrong"})
        self.app.office.delete(str(uuid.uuid4()), x_client_secret="cs_wrong")

    def eventually(self, what, condition, within=30):
        """Waits, with visitors meanwhile, until nothing is left of what a condition finds missing."""
        deadline = time.monotonic() + within
        while missing := condition():
            self.assertLess(time.monotonic(), deadline, f"{what}: {missing}")
            self.visit()
            time.sleep(0.5)

    def values(self, query):
        try:
            return [float(sample["value"][1]) for sample in ask("query", query=query)["result"]]
        except (urllib.error.HTTPError, ConnectionError) as error:
            self.fail(f"{query}: {error}")

    def test_every_panel_of_the_dashboard_shows_something(self):
        asked = list(queries(self.dashboard["panels"]))
        self.assertGreater(len(asked), 20)
        self.eventually(
            "panels without a value",
            lambda: [
                f"{title}: {query}" for title, query in asked
                # NaN: a quantile of nothing, or a share of nothing.
                if not any(value == value for value in self.values(query))
            ],
        )

    def test_the_choices_of_the_dashboard_are_there(self):
        for variable in self.dashboard["templating"]["list"]:
            if variable["type"] != "query":
                continue
            metric, label = variable["query"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
            metric = metric.replace("$job", "customerd")
            self.eventually(
                f"no choice for {variable['name']}",
                lambda: not ask(f"label/{label}/values", **{"match[]": metric}) and metric,
            )

    def test_every_rule_is_understood_and_none_fires(self):
        def unhealthy():
            rules = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
            return [rule for rule in rules if rule["health"] != "ok"] if rules else "no rules"

        self.eventually("rules that aren't evaluated", unhealthy)
        self.assertEqual([alert for alert in ask("alerts")["alerts"] if alert["state"] == "firing"], [])


if __name__ == "__main__":
    unittest.main()
