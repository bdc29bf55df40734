"""A site whose region is gone: what is left are its backups, AWS in the DR region, and a server that was a replica."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spoqplus_backup.core.mysql.sandbox import SandboxServer
from support.aws import DOMAIN, REPLICA, Cloud, cloud
from support.dns_server import NameServer, name_server
from support.s3 import ACCESS_KEY, SECRET_KEY, free_port
from support.terraform import Configuration, binaries

SITE = "jeju"
ONCALL = "oncall"
ADDRESS = "192.0.2.77"  # of the application in the DR region
TEMPLATE = {
    "Comment": "to $region",
    "Changes": [
        {
            "Action": "UPSERT",
            "ResourceRecordSet": {
                "Name": DOMAIN,
                "Type": "A",
                "TTL": 60,
                "ResourceRecords": [{"Value": ADDRESS}],
            },
        }
    ],
}


@dataclass(frozen=True)
class Jeju:
    """Its folder, AWS, and the pages and names that are asked."""

    folder: Path
    cloud: Cloud
    page: str
    name_server: NameServer
    terraform: Configuration
    lost_port: int

    @property
    def repository(self) -> Path:
        """In the DR region."""
        return self.folder / "repository"

    @property
    def fence_log(self) -> Path:
        """What the fence's command wrote."""
        return self.folder / "fenced"

    def configuration(self) -> dict[str, Any]:
        """The fields of its file."""
        database = {"replica": REPLICA, "connection": "jeju_dr_mysql", "poll_seconds": 0.3, "wait_minutes": 2}
        return {
            "database": {"connection": "jeju_mysql"},
            "components": [],
            "recovery_test": {"faces": None},
            "repositories": [{"name": "dr", "root": f"file://{self.repository}"}],
            "dr": {
                "connection": "jeju_aws",
                "urls": [self.page],
                "database": database,
                "fence": {"commands": [["/bin/sh", "-c", f"echo fenced >> {self.fence_log}"]]},
                "terraform": {
                    "directory": str(self.terraform.folder),
                    "binary": str(next(iter(binaries().values()))),
                },
                "dns": {
                    "zone": self.cloud.zone,
                    "template": str(self.folder / "dns.json"),
                    "servers": [self.name_server.address],
                    "wait_seconds": 30,
                },
                "health": {"urls": [self.page], "wait_minutes": 1},
            },
        }

    def connections(self, server: SandboxServer) -> dict[str, str]:
        """Airflow's: production is gone, `server` is what was its replica, or is made instead of it."""
        login = {"conn_type": "mysql", "host": "127.0.0.1", "login": "backup", "password": "p4ss w0rd/of%the:database"}
        aws = {"conn_type": "aws", "login": ACCESS_KEY, "password": SECRET_KEY}
        return {
            "AIRFLOW_CONN_JEJU_MYSQL": json.dumps(login | {"port": self.lost_port}),
            "AIRFLOW_CONN_JEJU_DR_MYSQL": json.dumps(login | {"port": server.port}),
            "AIRFLOW_CONN_JEJU_AWS": json.dumps(aws | {"extra": {"endpoint_url": self.cloud.endpoint}}),
        }


@contextlib.contextmanager
def jeju_in(folder: Path, page: str) -> Iterator[Jeju]:
    """The site; `page` is what people open, and what tells whether the DR side is healthy."""
    flag = folder / "tried"
    half_way = f"[ -e {flag} ] || {{ touch {flag}; echo no more capacity >&2; exit 1; }}"
    terraform = Configuration(folder / "terraform").write({"network": "true", "application": half_way})
    (folder / "dns.json").write_text(json.dumps(TEMPLATE))
    with cloud() as found, name_server() as names:
        names.records[f"{DOMAIN}.", "A"] = [[ADDRESS]]
        yield Jeju(folder, found, page, names, terraform, free_port())
