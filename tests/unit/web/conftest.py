"""Airflow's API server and a site, for every test of what we serve there."""

from support.airflow_api import airflow_app, down, endpoint, server, world

__all__ = ["airflow_app", "down", "endpoint", "server", "world"]
