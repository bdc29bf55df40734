"""What was backed up comes back identical, on both vendors' real servers."""

from pathlib import Path

import pytest

from compare import differences, snapshot
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from support import hard_data
from support.backups import make_site
from support.servers import databases

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
