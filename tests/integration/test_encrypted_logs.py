"""A MySQL that encrypts its binary logs on its own disk: it sends them as they are to who may read them."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from compare import differences, snapshot
from spoqplus_backup.core.mysql.sandbox import SandboxServer, ServerPrograms
from support.archive import FIRST, sidecars
from support.backups import make_site
from support.servers import MYSQL_DIRECTORY, OPTIONS, empty, run

pytestmark = pytest.mark.integration


@pytest.fixture
def encrypting(tmp_path: Path) -> Iterator[SandboxServer]:
    """A server with a keyring: it has to be named beside the program, so this is a tree of links of its own."""
    folder = tmp_path / "mysql"
    folder.mkdir()
    shutil.copytree(MYSQL_DIRECTORY / "bin", folder / "bin")
    subprocess.run(["cp", "-as", str(MYSQL_DIRECTORY.resolve() / "tree"), str(folder / "tree")], check=True)
    plugins = folder / "tree" / "usr" / "lib" / "mysql" / "plugin"
    (folder / "tree" / "usr" / "sbin" / "mysqld.my").write_text('{"components": "file://component_keyring_file"}')
    (plugins / "component_keyring_file.cnf").write_text(f'{{"path": "{tmp_path}/keyring", "read_only": false}}')
    options = OPTIONS | {"binlog-encryption": "ON", "plugin-dir": str(plugins)}
    programs = ServerPrograms.mysql(folder / "bin")
    with SandboxServer.start(tmp_path / "server", programs, options=options, memory_mib=64) as server:
        yield server


def test_its_logs_are_archived_in_clear_and_bring_everything_back(
    encrypting: SandboxServer, mysql_target: SandboxServer, tmp_path: Path
) -> None:
    empty(mysql_target)
    run(encrypting, "CREATE DATABASE spoqplus", "CREATE TABLE spoqplus.t (id INT PRIMARY KEY)")
    site = make_site(tmp_path / "site", encrypting, mysql_target)
    site.back_up()
    for number in range(3):
        run(encrypting, f"INSERT INTO spoqplus.t VALUES ({number})")
        assert site.archive().gap is None
    on_disk = (encrypting.datadir / "binlog.000001").read_bytes()
    assert on_disk[:4] == b"\xfdbin", "what this test is about"
    assert [found.transactions for found in sidecars(site, FIRST)] == [3, 1, 1]
    assert sidecars(site)[0].log.raw_bytes == len(on_disk) - 512, "the header that says how it is encrypted"
    site.restore(to_time="latest")
    before, after = (snapshot(server.connect(), ["spoqplus"], accounts=False) for server in (encrypting, mysql_target))
    assert differences(before, after) == []
