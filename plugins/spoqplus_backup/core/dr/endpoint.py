"""Where the database in the DR region is, for those that have to know: Terraform's configuration, and the DNS."""

import json
import re
from pathlib import Path

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.dr.server import dr_login, dr_settings
from spoqplus_backup.core.settings import Settings

NAME = "database_endpoint"  # a variable of Terraform's configuration, and `$database_endpoint` in the DNS template

_DECLARED = re.compile(rf'^\s*variable\s+"{NAME}"', re.MULTILINE)


def database_endpoint(settings: Settings, connections: Connections, region: str) -> dict[str, str]:
    """The host of the database in the DR region, as a variable; empty when it is a socket.

    Raises:
        AbsentError: RDS has no such instance.
    """
    host = dr_login(settings, connections, region).host
    return {NAME: host} if host else {}


def of_terraform(settings: Settings, values: dict[str, str]) -> dict[str, str]:
    """What of them the site's configuration declares and its settings don't say: it refuses variables it has not."""
    how = dr_settings(settings).terraform
    if how is None or NAME in how.variables or not _declares(how.directory):
        return {}
    return values


def _declares(folder: Path) -> bool:
    in_words = any(_DECLARED.search(file.read_text("utf-8", "replace")) for file in folder.glob("*.tf"))
    return in_words or any(_declares_as_json(file) for file in folder.glob("*.tf.json"))


def _declares_as_json(file: Path) -> bool:
    try:
        return NAME in json.loads(file.read_text("utf-8", "replace")).get("variable", {})
    except (ValueError, AttributeError, TypeError):  # Terraform says what is wrong with it
        return False
