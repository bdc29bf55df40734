"""Fills the demonstration of `make up DEMO=1`: accounts, a small SPOQ Plus, a bucket, a web server's files.

Runs in a container of docker-compose.yaml, from files that scripts/stack.sh made. What is there stays as it is.
"""

import json
import os
from pathlib import Path
from typing import Any

import MySQLdb

import demo_files
import spoq_data
from spoqplus_backup.core.connections import ConnectionRecord, s3_client

WWW = Path("/var/www/html")
BUCKETS = ("spoqplus-backup", "spoqplus-logs")
READER = (
    "SELECT, SHOW VIEW, TRIGGER, EVENT, RELOAD, REPLICATION CLIENT, REPLICATION SLAVE, BACKUP_ADMIN ON *.*"  # README
)
ADMIN = "ALL PRIVILEGES ON *.*"


def connections(name: str) -> dict[str, dict[str, Any]]:
    """What a worker's connections.json says."""
    found: dict[str, dict[str, Any]] = json.loads(Path(f"/run/{name}.json").read_text("utf-8"))
    return found


def connect(host: str, **options: Any) -> Any:
    """Log in as root."""
    password = Path("/run/secrets/mysql_root_password").read_text().strip()
    return MySQLdb.connect(host=host, user="root", password=password, charset="utf8mb4", autocommit=True, **options)


def make_accounts() -> None:
    """The accounts that the workers log in with: one that reads, one that restores."""
    backup, recovery = connections("backup"), connections("recovery")
    for record, rights in (
        (backup["spoqplus_mysql"], READER),
        (recovery["spoqplus_mysql"], f"{ADMIN} TO %s@'%%' WITH GRANT OPTION"),
        (recovery["spoqplus_test_mysql"], f"{ADMIN} TO %s@'%%' WITH GRANT OPTION"),
    ):
        grant = f"GRANT {rights}" if " TO " in rights else f"GRANT {rights} TO %s@'%%'"
        with connect(record["host"]) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE USER IF NOT EXISTS %s@'%%' IDENTIFIED BY %s", (record["login"], record["password"]))
            cursor.execute(grant, (record["login"],))


def make_data(megabytes: int) -> None:
    """The club's data."""
    with connect("mysql") as connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES LIKE %s", (spoq_data.DATABASE,))
        if cursor.fetchall():
            return
        cursor.execute("SET GLOBAL local_infile = ON")
    spoq_data.load(lambda **options: connect("mysql", **({"local_infile": 1} | options)), megabytes)
    with connect("mysql") as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL local_infile = OFF")


def make_buckets() -> None:
    """The bucket that backups go to, and one for tasks' logs."""
    record = connections("backup")["spoqplus_aws"]
    client = s3_client(
        ConnectionRecord(
            id="spoqplus_aws", login=record["login"], password=record["password"], extra=record["extra_dejson"]
        )
    )
    known = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in BUCKETS:
        if name not in known:
            client.create_bucket(Bucket=name)


if __name__ == "__main__":
    make_accounts()
    make_data(int(os.environ.get("DEMO_MEGABYTES", "40")))
    make_buckets()
    if not (WWW / demo_files.UPLOADS).exists():
        demo_files.make(WWW)
