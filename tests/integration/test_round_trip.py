"""What was backed up comes back identical, on both vendors' real servers."""

from pathlib import Path

import pytest

from compare import differences, snapshot
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.publish import publish
from spoqplus_backup.core.stages import verify
from support import hard_data, writer
from support.backups import make_site
from support.servers import databases, rows

pytestmark = pytest.mark.integration


@pytest.mark.timeout(600)
def test_hard_data_come_back_identical(db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path) -> None:
    names = hard_data.build(db_server)
    source = db_server.connect()
    source.cursor().execute(hard_data.EVENT_THAT_HANGS_MYSQLDUMP)
    before = snapshot(source, names)
    site = make_site(tmp_path, db_server, restore_target)

    published = site.back_up()
    site.restore(components=["accounts", "database"])

    target = restore_target.connect()
    assert set(databases(target)) == set(names)
    assert differences(before, snapshot(target, names)) == []
    (database,) = [component for component in published.components if component.name == "database"]
    assert database.parts > 1, "the dump was cut"


def test_a_second_restore_over_the_first_changes_nothing(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path
) -> None:
    names = hard_data.build(db_server, small_tables=20, big_row_mib=1)
    before = snapshot(db_server.connect(), names, accounts=False)
    site = make_site(tmp_path, db_server, restore_target)
    site.back_up()
    for _ in range(2):
        plan = site.restore()
        assert differences(before, snapshot(restore_target.connect(), names, accounts=False)) == []
    assert plan.overwrites, "the second plan says what it overwrites"


def test_the_snapshot_holds_across_tables_while_others_write(
    db_server: SandboxServer, restore_target: SandboxServer, tmp_path: Path
) -> None:
    writer.create(db_server.connect(), bulk_mib=16)
    site = make_site(tmp_path, db_server, restore_target)
    run = site.start()
    with writer.Writer(db_server.connect) as writing:
        writing.wait_for(20)
        before = writing.transactions
        site.component(run, "database")
        during = writing.transactions - before
    assert during > 0, "others wrote while the dump ran"
    site.component(run, "accounts")
    verify(run)
    publish(run)
    site.restore()
    target = restore_target.connect()
    assert writer.violations(target) == []
    entries = "SELECT COUNT(*) FROM ledger.zz_entries"
    assert rows(target, entries)[0][0] < rows(db_server.connect(), entries)[0][0]


def test_coordinates_are_those_of_the_snapshot(db_server: SandboxServer, tmp_path: Path) -> None:
    connection = db_server.connect()
    rows(connection, "CREATE DATABASE spoqplus")
    rows(connection, "CREATE TABLE spoqplus.t (id INT PRIMARY KEY)")
    published = make_site(tmp_path, db_server).back_up()
    status = "SHOW MASTER STATUS" if db_server.flavour == "mariadb" else "SHOW BINARY LOG STATUS"
    file, position = rows(connection, status)[0][:2]
    assert (published.coordinates.file, published.coordinates.position) == (file, position)
    gtid = "SELECT @@gtid_binlog_pos" if db_server.flavour == "mariadb" else "SELECT @@gtid_executed"
    assert published.coordinates.gtid == rows(connection, gtid)[0][0].replace("\n", "")
