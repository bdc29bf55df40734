"""Backup and disaster recovery of a SPOQ Plus site: the domain (`core`) and its Airflow faces."""

__version__ = "0.1.0"
