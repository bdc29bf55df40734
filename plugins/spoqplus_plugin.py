"""Registers this project with Airflow, and nothing else: Airflow runs this file as a module of its own name."""

from airflow.plugins_manager import AirflowPlugin


class SpoqplusPlugin(AirflowPlugin):
    """Shows in the UI's list of plugins that the folder was found."""

    name = "spoqplus_backup"
