"""Imports every module of the project, and what the workers run it with: what is missing ends the image's build."""

import importlib
import pkgutil

import spoqplus_backup

for module in pkgutil.walk_packages(spoqplus_backup.__path__, "spoqplus_backup."):
    importlib.import_module(module.name)
for name in ("airflow.providers.celery.executors.celery_executor", "airflow.providers.fab", "PIL", "psycopg2"):
    importlib.import_module(name)
