"""The alert rules and the dashboard in conf/: Prometheus takes them, and they ask for nothing that there is not."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support import promtool
from tests.unit.observe.numbers import complete, series

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "conf" / "prometheus" / "kipuka-alerts.yml"
DASHBOARD = ROOT / "conf" / "grafana" / "kipuka.json"
DOCUMENT = ROOT / "docs" / "monitoring.md"
COLUMNS = 24
"""Of Grafana's grid."""


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    return loaded


def queries() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]


def named(text: str) -> set[str]:
    return set(re.findall(r"\b(?:kipuka|process)_[a-z_]+\b", text))


def alerts() -> list[str]:
    return re.findall(r"- alert: (\w+)", RULES.read_text("utf-8"))


def test_prometheus_takes_the_rules() -> None:
    assert f"{len(alerts())} rules found" in promtool.run("check", "rules", RULES)


def test_the_rules_fire_when_they_should() -> None:
    promtool.run("test", "rules", Path(__file__).with_name("alerts-test.yml"))


def test_the_rules_ask_for_metrics_that_there_are() -> None:
    expressions = re.sub(r"#.*|(summary|description): .*", "", RULES.read_text("utf-8"))
    assert len(named(expressions)) > 8
    assert named(expressions) - series(complete()) == set()


def test_every_alert_is_explained() -> None:
    headings = re.findall(r"^\| `(Kipuka\w+)` \|", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert sorted(headings) == sorted(alerts())


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    assert len(queries()) > 20
    assert {name for query in queries() for name in named(query)} - series(complete()) == set()


def test_the_dashboard_shows_every_metric_of_kipuka() -> None:
    shown = {re.sub("_(bucket|count|sum)$", "", name) for query in queries() for name in named(query)}
    there = {re.sub("_(bucket|count|sum)$", "", name) for name in series(complete()) if name.startswith("kipuka")}
    assert there - shown == set()


def test_prometheus_takes_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m").replace("$instance", ".*")}
        for number, query in enumerate(queries())
    ]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # JSON is YAML
    assert f"{len(rules)} rules found" in promtool.run("check", "rules", file)


def test_the_dashboard_is_whole() -> None:
    """What Grafana needs for an import: numbers of their own, places in the grid, a data source to choose."""
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in itertools.combinations([panel["gridPos"] for panel in panels], 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= COLUMNS for panel in panels)
    assert {each["name"] for each in dashboard()["templating"]["list"]} == {"datasource", "instance"}
    sources = {target["datasource"]["uid"] for panel in panels for target in panel.get("targets", ())}
    assert sources == {"${datasource}"}


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=lambda path: path.name)
def test_files_name_no_machine(file: Path) -> None:
    assert not re.search(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+|https?://", file.read_text("utf-8"))
