"""Credentials from Airflow's connections: the UI's, a secrets backend's, or `AIRFLOW_CONN_*`.

Airflow masks what it hands out, in logs and rendered fields, from then on.
"""

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from spoqplus_backup.core.connections import ConnectionRecord, RecordConnections
from spoqplus_backup.core.errors import SettingsError


class AirflowConnections(RecordConnections):
    """The core's `Connections`, for a task."""

    def record(self, connection_id: str) -> ConnectionRecord:
        """The record of that id.

        Raises:
            SettingsError: Airflow knows no such connection.
        """
        try:
            found = BaseHook.get_connection(connection_id)
        except AirflowNotFoundException as error:
            raise SettingsError(
                f"There is no connection {connection_id}: add it in the UI (Admin, Connections) or with "
                f"`airflow connections add {connection_id}`."
            ) from error
        return ConnectionRecord(
            id=connection_id,
            type=found.conn_type or "",
            host=found.host or None,
            port=found.port,
            login=found.login,
            password=found.password,
            schema=found.schema or None,
            extra=found.extra_dejson,
        )
