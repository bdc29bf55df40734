"""The rules, their tests, the routing and the dashboard: each is checked by the program that will read it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from spoqplus_backup.web.exposition import GAUGES
from support.monitoring import PROJECT, check

PROMETHEUS = PROJECT / "include" / "prometheus"
DASHBOARD = PROJECT / "include" / "grafana" / "spoqplus-backup.json"
STRATEGY = """
- alert: BackupFailed
  expr: backup_last_success_timestamp < (time() - 86400)
  for: 1h
  labels: {severity: critical}
  annotations: {summary: "백업 실패", description: "24시간 이상 백업이 수행되지 않았습니다."}
- alert: BackupSizeTooSmall
  expr: backup_size_bytes < 1073741824 # 1GB
  for: 15m
  labels: {severity: warning}
  annotations: {summary: "백업 크기 이상", description: "백업 크기가 비정상적으로 작습니다."}
"""


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_promtool_and_amtool_are_content() -> None:
    check("promtool", "check", "rules", "alerts.yml", folder=PROMETHEUS)
    check("promtool", "check", "config", "--syntax-only", "prometheus.yml", folder=PROMETHEUS)
    check("amtool", "check-config", str(PROJECT / "include" / "alertmanager" / "alertmanager.yml"))


def test_each_alert_fires_and_stays_silent() -> None:
    check("promtool", "test", "rules", "alerts_test.yml", folder=PROMETHEUS)
    text = (PROMETHEUS / "alerts_test.yml").read_text()
    for rule in rules():
        name = rule["alert"]
        assert re.search(rf'labels: .ALERTS{{alertname="{name}"|alertname: {name}\n\s+eval_time: \w+\n', text), name
        silent = rf'ALERTS{{alertname="{name}"[^\n]*exp_samples: \[\]|{{alertname: {name}, [^\n]*exp_alerts: \[\]'
        assert re.search(silent, text) or re.search(rf'name: {name}\n.*?site="good"', text, re.DOTALL), name


def test_the_strategy_s_own_alerts_are_its_own() -> None:
    by_name = {rule["alert"]: rule for rule in rules()}
    for wanted in yaml.safe_load(STRATEGY):
        found = by_name[wanted["alert"]]
        assert {key: found[key] for key in ("expr", "for", "labels")} == {
            key: wanted[key] for key in ("expr", "for", "labels")
        }
        assert found["annotations"] | wanted["annotations"] == found["annotations"]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_in_two_languages_and_what_to_do(rule: dict[str, Any]) -> None:
    words = rule["annotations"]
    assert rule["labels"]["severity"] in ("critical", "warning")
    for key in ("summary", "description"):
        assert re.search("[가-힣]", words[key])
        assert words[f"{key}_en"]
        assert not re.search("[가-힣]", words[f"{key}_en"])
    for key, page in (("runbook_url", "runbook.md"), ("runbook_url_ko", "runbook.ko.md")):
        file, _, anchor = words[key].rpartition("/")[2].partition("#")
        assert file == page
        assert anchor in anchors(PROJECT / "docs" / page), f"docs/{page} has no section {anchor}"


def anchors(page: Path) -> set[str]:
    """The sections of a page, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_metric_that_is_asked_for_is_exposed() -> None:
    asked = [str(rule["expr"]) for rule in rules()]
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked += [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(panels) > 15
    for expression in asked:
        plain = re.sub(r'"[^"]*"', "", expression)
        names = re.findall(r"\b(?:spoqplus|backup)_\w+", plain)
        assert names, expression
        for name in names:
            assert name in GAUGES, f"{expression}: there is no metric {name}"
