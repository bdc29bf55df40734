"""Registers this project with Airflow, and nothing else: Airflow runs this file as a module of its own name."""

from airflow.plugins_manager import AirflowPlugin

from spoqplus_backup import pools


class SpoqplusPlugin(AirflowPlugin):
    """Shows in the UI's list of plugins that the folder was found; makes our pools when the scheduler starts."""

    name = "spoqplus_backup"
    listeners = [pools]
