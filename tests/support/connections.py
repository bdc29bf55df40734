"""Connections from a dictionary."""

from collections.abc import Sequence
from typing import Any

from spoqplus_backup.core.connections import SLACK_API, ConnectionRecord, RecordConnections
from spoqplus_backup.core.errors import SettingsError


class FixedConnections(RecordConnections):
    """Knows the records that it was given."""

    def __init__(self, *records: ConnectionRecord) -> None:
        self._records = {record.id: record for record in records}

    def record(self, connection_id: str) -> ConnectionRecord:
        if connection_id not in self._records:
            raise SettingsError(
                f"There is no connection {connection_id}: add it with `airflow connections add {connection_id}`."
            )
        return self._records[connection_id]

    @classmethod
    def of_a_site(cls, without: Sequence[str] = (), bots: Sequence[str] = ()) -> "FixedConnections":
        """All that the default configuration names, to servers that are not there; `bots` are Slack's API."""
        fields: dict[str, Any] = {"host": "127.0.0.1", "login": "user", "password": "password"}
        ids = ("spoqplus_mysql", "spoqplus_test_mysql", "spoqplus_aws", "spoqplus_slack", "spoqplus_backup_password")
        kinds = {name: SLACK_API for name in bots}
        known = [name for name in ids if name not in without]
        return cls(*(ConnectionRecord(id=name, type=kinds.get(name, ""), **fields) for name in known))
