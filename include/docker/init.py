"""What has to be done once before Airflow starts, and again after each upgrade; run by the service `init`.

The database is migrated, the first administrator made, and a database for Celery's results: workers have an account of
that one alone, none of Airflow's own.
"""

import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg2
from psycopg2 import sql

SECRETS = Path("/run/secrets")
ADMIN = "admin"


def check_secrets() -> None:
    """An empty Fernet key would store passwords in clear, silently; an empty JWT secret fails every task."""
    if empty := [path.name for path in sorted(SECRETS.iterdir()) if not path.read_text().strip()]:
        sys.exit(f"The secret {', '.join(empty)} is empty: remove the file and run `make up`, which makes a new one.")


def make_results_database() -> None:
    """The role and the database of `celery_result_backend`."""
    admin = urlsplit((SECRETS / "sql_alchemy_conn").read_text().strip())
    wanted = urlsplit((SECRETS / "celery_result_backend").read_text().strip())
    role, database = sql.Identifier(wanted.username or ""), sql.Identifier(wanted.path[1:])
    password = sql.Literal(unquote(wanted.password or ""))
    connection = psycopg2.connect(
        host=admin.hostname,
        port=admin.port or 5432,
        user=admin.username,
        password=unquote(admin.password or ""),
        dbname=admin.path[1:],
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", (wanted.username,))
        ((is_there,),) = cursor.fetchall()
        verb = sql.SQL("ALTER" if is_there else "CREATE")
        cursor.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, role, password))
        cursor.execute("SELECT EXISTS (SELECT FROM pg_database WHERE datname = %s)", (wanted.path[1:],))
        ((is_there,),) = cursor.fetchall()
        if not is_there:
            cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))
        own = sql.Identifier(admin.path[1:])
        cursor.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(own))
    connection.close()


def make_administrator() -> None:
    """The first user; one that is there keeps its password, which may have been changed since."""
    password = (SECRETS / "admin_password").read_text().strip()
    subprocess.run(  # noqa: S603
        [
            *("airflow", "users", "create", "--role", "Admin", "--username", ADMIN),
            *("--firstname", "SPOQ", "--lastname", "Plus", "--email", "admin@example.com"),
        ],
        input=f"{password}\n{password}\n",  # asked for twice, so that it is on no command line
        text=True,
        check=True,
    )


if __name__ == "__main__":
    check_secrets()
    subprocess.run(["airflow", "db", "migrate"], check=True)  # noqa: S607
    make_results_database()
    make_administrator()
