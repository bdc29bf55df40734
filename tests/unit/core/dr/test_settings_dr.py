"""The section `dr`: what it must have, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from spoqplus_backup.core.connections import ConnectionRecord
from spoqplus_backup.core.dr.server import dr_settings
from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.core.settings import Settings, check_dr, load_settings
from spoqplus_backup.core.settings_dr import INCLUDE, DnsSettings, DrSettings
from support.connections import FixedConnections
from support.site_file import write_site
from support.terraform import STANDIN

DATABASE = {"replica": "spoqplus-dr-replica"}
GROUP = {"id": "sg-0a1b", "region": "ap-northeast-2"}


def site(folder: Path, **dr: Any) -> Settings:
    return load_settings(write_site(folder, dr={"database": DATABASE, **dr}))


def test_without_it_nothing_is_configured(tmp_path: Path) -> None:
    settings = load_settings(write_site(tmp_path))
    assert settings.dr is None
    with pytest.raises(SettingsError, match="`dr` is null"):
        dr_settings(settings)


def test_the_replica_is_enough_and_the_rest_is_the_strategy_s(tmp_path: Path) -> None:
    dr = dr_settings(site(tmp_path, terraform={}, dns={"zone": "Z123456"}))
    assert (dr.region, dr.approval_hours, dr.fence) == ("ap-northeast-1", 1, None)
    assert (dr.database.backup_retention_days, dr.database.maximum_lag_minutes) == (7, 60)
    assert dr.terraform is not None
    assert dr.dns is not None
    assert (dr.terraform.directory / "main.tf").exists()
    assert dr.dns.template.exists()


def test_the_shipped_example_is_one_and_leaves_nothing_out() -> None:
    lines = (INCLUDE / "config" / "spoqplus.yaml").read_text().splitlines()
    start = lines.index("# dr:")
    end = next(number for number in range(start, len(lines)) if not lines[number].startswith("#"))
    example = yaml.safe_load("\n".join(line[2:] for line in lines[start:end]))["dr"]
    dr = DrSettings.model_validate(example, context={"folder": INCLUDE / "config"})
    assert dr.terraform is not None
    assert (dr.terraform.directory / "main.tf").exists()
    for model, fields in ((dr, example), (dr.database, example["database"]), (dr.terraform, example["terraform"])):
        assert set(fields) == set(type(model).model_fields)
    assert set(example["dns"]) == set(DnsSettings.model_fields)


def test_paths_are_beside_the_file(tmp_path: Path) -> None:
    dr = dr_settings(site(tmp_path, terraform={"directory": "tf"}, dns={"zone": "Z1", "template": "switch.json"}))
    assert dr.terraform is not None
    assert dr.dns is not None
    assert (dr.terraform.directory, dr.dns.template) == (tmp_path / "tf", tmp_path / "switch.json")


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"database": {}}, "`dr.database.replica` is missing"),
        ({"region": "Tokyo"}, "`dr.region` is wrong"),
        ({"database": {"replica": "a--b"}}, "`dr.database.replica` is wrong"),
        ({"database": {**DATABASE, "backup_window": "18h"}}, "`dr.database.backup_window` is wrong"),
        ({"database": {**DATABASE, "restore": {"instance": "new"}}}, "name a snapshot, or the instance"),
        ({"fence": {}}, "nothing would be fenced"),
        ({"fence": {"commands": [[]]}}, "`dr.fence.commands[0]` is wrong"),
        ({"fence": {"security_group": {**GROUP, "port": 0}}}, "`dr.fence.security_group.port` is wrong"),
        ({"terraform": {"variables": {"region": "x"}}}, "has region, which is always set"),
        ({"terraform": {"variables": {"a": "x"}, "secrets": {"a": "c"}}}, "has a, which `variables` has too"),
        ({"terraform": {"variables": {"-destroy": "x"}}}, "`dr.terraform.variables"),
        ({"dns": {"zone": "example.com"}}, "`dr.dns.zone` is wrong"),
        ({"dns": {}}, "`dr.dns.zone` is missing"),
        ({"urls": ["https://user:pw@example.com"]}, "`dr.urls[0]` is wrong"),
        ({"health": {"minutes": 1}}, "`dr.health.minutes` is an unknown field"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, section: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        site(tmp_path, **section)
    assert words in str(caught.value)


def test_what_this_machine_lacks_for_a_failover_is_said(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"login": "AKIA", "password": "secret", "host": "db.example"}
    known = FixedConnections(
        *(ConnectionRecord(id=name, **fields) for name in ("spoqplus_aws_dr", "spoqplus_dr_mysql"))
    )
    complete = site(tmp_path, terraform={"binary": str(STANDIN)}, dns={"zone": "Z1"})
    assert check_dr(complete, known) == []
    assert check_dr(load_settings(write_site(tmp_path)), FixedConnections()) == []

    settings = site(
        tmp_path,
        repository="seoul",
        fence={"commands": [["/no/fence.sh"]], "security_group": GROUP},
        terraform={"binary": "none", "directory": "nowhere", "secrets": {"password": "tf"}},
        dns={"zone": "Z1", "template": "none.json"},
        health={"checks": ["none"]},
    )
    found = check_dr(settings, FixedConnections())
    fields_named = [line.split("`")[1] for line in found]
    assert fields_named == [
        "dr.connection",
        "dr.database.connection",
        "dr.repository",
        "dr.fence.commands[0]",
        "dr.fence.security_group.connection",
        "dr.terraform.binary",
        "dr.terraform.directory",
        "dr.terraform.secrets.password",
        "dr.dns.template",
        "dr.health.checks[0]",
    ]
    assert "developer.hashicorp.com" in found[5]
