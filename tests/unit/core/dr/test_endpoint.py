"""Terraform is told where the database is when its configuration has a variable for it, and only then."""

from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.connections import ConnectionRecord
from spoqplus_backup.core.dr.endpoint import database_endpoint, of_terraform
from support.connections import FixedConnections
from support.dr import dr_settings_of

VALUES = {"database_endpoint": "db.example"}


@pytest.mark.parametrize(
    ("content", "more", "told"),
    [
        ({"main.tf": 'variable "database_endpoint" {\n  type = string\n}\n'}, {}, VALUES),
        ({"main.tf.json": '{"variable": {"database_endpoint": {"type": "string"}}}'}, {}, VALUES),
        ({"main.tf": 'variable "database_endpoint_old" {}\n# database_endpoint\n'}, {}, {}),
        ({"main.tf": 'variable "region" {}\n'}, {}, {}),
        ({"main.tf": 'variable "database_endpoint" {}\n'}, {"variables": {"database_endpoint": "mine"}}, {}),
    ],
)
def test_what_it_is_told(tmp_path: Path, content: dict[str, str], more: dict[str, Any], told: dict[str, str]) -> None:
    folder = tmp_path / "terraform"
    folder.mkdir()
    for name, text in content.items():
        (folder / name).write_text(text)
    settings = dr_settings_of(tmp_path, terraform={"directory": str(folder)} | more)
    assert of_terraform(settings, VALUES) == told
    assert of_terraform(dr_settings_of(tmp_path), VALUES) == {}, "there is no Terraform"


def test_the_shipped_example_has_it(tmp_path: Path) -> None:
    assert of_terraform(dr_settings_of(tmp_path, terraform={}), VALUES) == VALUES


def test_the_address_is_the_connection_s(tmp_path: Path) -> None:
    settings = dr_settings_of(tmp_path)
    record = ConnectionRecord(id="spoqplus_dr_mysql", host="db.example", login="x", password="y")
    assert database_endpoint(settings, FixedConnections(record), "ap-northeast-1") == VALUES
    local = ConnectionRecord(id="spoqplus_dr_mysql", login="x", password="y", extra={"unix_socket": "/run/x"})
    assert database_endpoint(settings, FixedConnections(local), "ap-northeast-1") == {}
