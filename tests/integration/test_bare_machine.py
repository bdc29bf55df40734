"""The runbook's part for the night when Airflow is gone, too: its blocks, word for word, on a kept repository."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from spoqplus_backup.core.mysql.sandbox import SandboxServer
from support.samples import SAMPLES, SOURCE, content, tree
from support.servers import PROJECT, empty, rows

pytestmark = pytest.mark.integration

DOCS = PROJECT / "docs"
SAMPLE = SAMPLES / "format-1" / "mariadb"
PARTS = {"runbook.md": "### Airflow is gone, too\n", "runbook.ko.md": "### Airflow도 없을 때\n"}


def blocks(file: str) -> list[str]:
    """The code blocks of that part."""
    part = (DOCS / file).read_text().partition(PARTS[file])[2].partition("\n## ")[0]
    return re.findall(r"^```\w+\n(.*?)^```", part, re.DOTALL | re.MULTILINE)


def test_both_languages_say_the_same() -> None:
    assert len(blocks("runbook.md")) == 4
    assert blocks("runbook.md") == blocks("runbook.ko.md")


def test_what_is_installed_is_there() -> None:
    """The packages and files by their names; that they suffice was tried on a bare Debian 12."""
    install = blocks("runbook.md")[0]
    assert {word for word in install.split() if word.endswith(".txt") and "/" not in word} == {"requirements-core.txt"}
    (packages,) = re.findall(r"apt-get install -y (.+)", install)
    known = subprocess.run(["apt-cache", "pkgnames"], capture_output=True, text=True, check=True).stdout.split()
    assert set(packages.split()) <= set(known)


def test_one_command_brings_everything(mariadb_target: SandboxServer, tmp_path: Path) -> None:
    _, site, connections, typed = blocks("runbook.md")
    empty(mariadb_target)
    for host in ("%", "localhost"):
        rows(mariadb_target.connect(), f"CREATE USER admin@'{host}' IDENTIFIED BY 'a password'")
        rows(mariadb_target.connect(), f"GRANT ALL ON *.* TO admin@'{host}' WITH GRANT OPTION")
    home = tmp_path / "dr"
    home.mkdir(mode=0o700)
    (home / "identity.txt").write_bytes((SAMPLE / "keys" / "first.txt").read_bytes())
    (home / "identity.txt").chmod(0o600)
    (home / "signing.pub").write_bytes((SAMPLE / "keys" / "signing.pub").read_bytes())
    for name in ("public.gpg", "private.gpg"):
        (home / name).write_bytes((SAMPLE / "keys" / name).read_bytes())
        (home / name).chmod(0o600)
    subprocess.run(["cp", "-r", SAMPLE / "repository", tmp_path / "backup"], check=True)

    mine = ["age-keygen", "-y", home / "identity.txt"]
    recipient = subprocess.run(mine, capture_output=True, text=True, check=True).stdout.strip()
    site = site.replace("root: s3://spoqplus-backup-dr, connection: spoqplus_aws_dr", f"root: file://{tmp_path}/backup")
    site = site.replace("age1...", recipient).replace("/srv/spoqplus", str(tmp_path / "srv"))
    gpg = "{gpg_recipient: sample@example.com, gpg_public_key_file: public.gpg, gpg_private_key_file: private.gpg}"
    (home / "site.yaml").write_text(f"{site}environment: {gpg}\n")
    connections = connections.replace("db.spoqplus.com", "db.invalid").replace('"host": "ENDPOINT"', (
        f'"host": "127.0.0.1", "port": {mariadb_target.port}'
    ))  # fmt: skip
    (home / "connections.env").write_text(connections.replace('"password": "..."', '"password": "a password"'))

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", typed.replace("/root/dr", str(home))],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT / "plugins"), "HOME": str(home), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert " 0 failed" in done.stdout
    expected = json.loads((SAMPLE / "expected.json").read_text())
    assert content(mariadb_target) == expected["content"]
    assert tree(tmp_path / "srv" / str(SOURCE)[1:]) == expected["files"]
    assert "a password" not in done.stdout + done.stderr
