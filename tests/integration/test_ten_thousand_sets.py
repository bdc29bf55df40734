"""A list of ten thousand sets in an S3 server on this machine: in no more memory than a short one."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

import pytest

from spoqplus_backup.core.manifest import MANIFEST, SIGNATURE
from support import s3
from support.keys import age_pair, signing_pair

pytestmark = pytest.mark.integration

PROJECT = Path(__file__).parents[2]
FIRST = datetime(2015, 1, 1, 3, tzinfo=timezone.utc)
FEW, MANY = 1_000, 10_000
MORE_MIB = 8.0


# The kernel's own count of its most memory: what `wait4` tells is the parent's before the program began, too.
LIST = """
import sys
from spoqplus_backup.cli import main
status = main(["list"])
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
sys.exit(status)
"""


class Listed(NamedTuple):
    """One call of the command line: wall clock in seconds, most memory in MiB, lines."""

    seconds: float
    mib: float
    lines: list[str]


def publish(bucket: Path, number: int) -> None:
    """So many sets, as files of the server's folder: it remembers what it has listed, so they are made before.

    All files are two, by links: it is their number that counts, and new ones take longer than the whole test.
    """
    (bucket / "daily").mkdir(parents=True)
    (part := bucket / "part").touch()
    (manifest := bucket / "manifest").write_bytes(b"{}")
    for position in range(number):
        folder = bucket / f"daily/{FIRST + timedelta(hours=6 * position):%Y%m%d_%H%M%S}"
        folder.mkdir()
        (folder / "database").mkdir()
        for name in ("database/000001.sql.zst.age", SIGNATURE):
            (folder / name).hardlink_to(part)
        (folder / MANIFEST).hardlink_to(manifest)


def listed(folder: Path, number: int) -> Listed:
    """List so many sets of a new server."""
    folder.mkdir()
    config = folder / "site.yaml"
    config.write_text(
        f"""
language: en
encryption: {{recipients: [{age_pair(folder).recipient}]}}
signing: {{public_key_files: [{signing_pair(folder).public}]}}
staging: {{directory: staging}}
repositories: [{{name: s3, root: "s3://{s3.BUCKET}/site", connection: spoqplus_aws}}]
"""
    )
    publish(folder / "data" / s3.BUCKET / "site", number)
    with s3.rclone(folder / "data") as endpoint:
        record = s3.record(endpoint)
        connection = {"conn_type": "aws", "login": record.login, "password": record.password, "extra": {**record.extra}}
        environment = os.environ | {
            "SPOQPLUS_BACKUP_CONFIG": str(config),
            "AIRFLOW_CONN_SPOQPLUS_AWS": json.dumps(connection),
            "PYTHONPATH": str(PROJECT / "plugins"),
        }
        with (folder / "list").open("wb") as file:
            began = time.monotonic()
            process = subprocess.run(
                [sys.executable, "-c", LIST],
                env=environment,
                stdout=file,
                stderr=subprocess.PIPE,
                text=True,
                check=True,
            )
            seconds = time.monotonic() - began
    lines = (folder / "list").read_text().splitlines()
    return Listed(seconds, int(process.stderr.split()[-2]) / 1024, lines)


def test_ten_thousand_sets(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    few, many = listed(tmp_path / "few", FEW), listed(tmp_path / "many", MANY)

    for name in ("seconds", "mib"):
        record_property(name, round(getattr(many, name), 2))
    print(f"{MANY:,} sets: {many.seconds:.1f} s, {many.mib:.0f} MiB ({FEW}: {few.seconds:.1f} s, {few.mib:.0f} MiB)")
    assert many.lines[-1].startswith("10,000 sets")
    assert len(many.lines) == MANY + 2
    assert many.mib - few.mib < MORE_MIB
