"""A wished point in time becomes logs and exact offsets: on both vendors' real servers and their real logs."""

import re
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from spoqplus_backup.core.archive.gaps import begin_unlogged, end_unlogged
from spoqplus_backup.core.errors import IntegrityError, PermanentError, SettingsError
from spoqplus_backup.core.mysql.binlog_transactions import Transaction, Transactions
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.recovery.archived import ArchivedLogs
from spoqplus_backup.core.recovery.target import PARAMETERS, OutsideError, PlannedReplay, choose, read_target
from spoqplus_backup.core.recovery.windows import Window, fulls, unreachable, windows
from spoqplus_backup.core.repository.catalog import Catalog
from spoqplus_backup.core.repository.opener import open_repositories
from support.archive import log_names, reset, rewrite, rotate
from support.backups import Site, make_site
from support.servers import empty, next_second, rows

pytestmark = pytest.mark.integration


def insert(server: SandboxServer, first: int, count: int = 1) -> None:
    connection = server.connect()
    for number in range(first, first + count):
        rows(connection, f"INSERT INTO spoqplus.t VALUES ({number})")


@pytest.fixture
def site(db_server: SandboxServer, tmp_path: Path) -> Iterator[Site]:
    """A site with a full backup in the middle of a log, transactions in three logs behind it, all archived."""
    connection = db_server.connect()
    rows(connection, "CREATE DATABASE spoqplus")
    rows(connection, "CREATE TABLE spoqplus.t (id INT PRIMARY KEY)")
    insert(db_server, 1, 3)
    made = make_site(tmp_path, db_server)
    made.back_up()
    for first in (11, 21, 31):
        next_second()
        insert(db_server, first, 3)
        rotate(db_server)
    made.archive()
    yield made
    shutil.rmtree(tmp_path / "staging", ignore_errors=True)


def transactions(server: SandboxServer, name: str) -> list[Transaction]:
    with (server.datadir / name).open("rb") as file:
        return list(Transactions(file.read, name))


def opened(site: Site) -> tuple[Catalog, ArchivedLogs]:
    repository = open_repositories(site.settings, site.connections)[0]
    catalog = Catalog(repository, site.settings.signing.public_key_files, site.settings.site)
    return catalog, ArchivedLogs(site.settings, site.connections, repository)


def reachable(site: Site) -> list[Window]:
    catalog, logs = opened(site)
    return windows(logs, fulls(catalog))


def aim(site: Site, parameter: str, text: str, backup: str = "latest") -> PlannedReplay:
    (name,) = [known for known in PARAMETERS if known == parameter]
    target = read_target(name, text, site.settings.timezone)
    return choose(*opened(site), backup, target, site.settings.staging.directory / "plan")[1]


def binlog_folder(site: Site) -> Path:
    root = Path(site.settings.repositories[0].root.removeprefix("file://"))
    (server,) = (root / "binlog").iterdir()
    return server / "000001"


def test_the_window_leads_from_the_snapshot_to_the_last_transaction(site: Site, db_server: SandboxServer) -> None:
    (window,) = reachable(site)
    names = log_names(db_server)
    assert window.end == transactions(db_server, names[2])[-1].at
    assert (window.first_log, window.last_log) == (names[0], names[2])
    assert window.problem is None
    assert timedelta() < window.end - window.start < timedelta(minutes=1)


def test_to_a_time(site: Site, db_server: SandboxServer) -> None:
    names = log_names(db_server)
    first, second = transactions(db_server, names[1])[-1], transactions(db_server, names[2])[0]
    found = aim(site, "to_time", first.at.isoformat())
    assert ([log.name for log in found.logs], found.stop) == (names[:3], second.start)
    assert (found.transactions, found.last_at) == (6, first.at)
    local = first.at.astimezone(timezone(timedelta(hours=9)))
    assert aim(site, "to_time", local.strftime("%Y-%m-%d %H:%M:%S.%f")).stop == second.start, "the site's own zone"


def test_to_a_time_between_two_transactions_of_a_second(site: Site, db_server: SandboxServer) -> None:
    one, two, _ = transactions(db_server, log_names(db_server)[2])
    found = aim(site, "to_time", one.at.isoformat())
    if db_server.flavour == "mysql":  # its events carry microseconds
        assert one.at.microsecond or two.at.microsecond
        assert (found.stop, found.transactions) == (two.start, 7)
    else:
        assert (found.stop, found.transactions) == (None, 9)


def test_to_and_before_a_transaction(site: Site, db_server: SandboxServer) -> None:
    names = log_names(db_server)
    one = transactions(db_server, names[1])[1]
    with_it, without_it = aim(site, "to_gtid", str(one.gtid)), aim(site, "before_gtid", str(one.gtid))
    assert (with_it.stop, with_it.transactions, with_it.last_gtid) == (one.end, 5, str(one.gtid))
    assert (without_it.stop, without_it.transactions) == (one.start, 4)
    place = f"{names[1]}:{one.start}"
    assert aim(site, "to_gtid", place).stop == one.end
    assert aim(site, "before_gtid", place) == without_it.model_copy(
        update={"target": without_it.target.model_copy(update={"text": place})}
    )
    assert [log.name for log in with_it.logs] == names[:2]


def test_in_the_log_of_the_snapshot_itself(site: Site, db_server: SandboxServer) -> None:
    name = log_names(db_server)[0]
    one, two = transactions(db_server, name)[-3:-1]
    found = aim(site, "before_gtid", str(one.gtid))
    assert (found.start, found.stop, found.transactions, found.last_at) == (one.start, one.start, 0, None)
    assert aim(site, "before_gtid", str(two.gtid)).transactions == 1
    before = transactions(db_server, name)[-4]
    assert aim(site, "to_gtid", str(before.gtid)).transactions == 0, "the backup itself"


def test_the_newest_backup_whose_window_holds_the_target(site: Site, db_server: SandboxServer) -> None:
    (old,) = reachable(site)
    next_second()
    new = site.back_up().set
    insert(db_server, 41)
    site.archive()
    last = transactions(db_server, log_names(db_server)[3])[-1]
    catalog, logs = opened(site)
    directory = site.settings.staging.directory / "plan"

    def chosen(parameter: str, text: str, backup: str = "latest") -> str:
        (name,) = [known for known in PARAMETERS if known == parameter]
        return choose(catalog, logs, backup, read_target(name, text, "UTC"), directory)[0].name

    assert chosen("to_time", last.at.isoformat()) == new
    assert chosen("to_gtid", str(last.gtid)) == new
    assert chosen("to_time", old.end.isoformat()) == old.backup
    assert chosen("before_gtid", str(transactions(db_server, log_names(db_server)[1])[0].gtid)) == old.backup
    assert chosen("to_gtid", str(last.gtid), old.backup) == old.backup, "an older one when it is asked for"
    with pytest.raises(OutsideError, match=new):
        chosen("to_time", old.end.isoformat(), new)


def test_targets_outside_are_refused_with_every_window(site: Site, db_server: SandboxServer) -> None:
    (window,) = reachable(site)
    shown = window.end.astimezone(timezone(timedelta(hours=9))).isoformat()
    for text in ((window.start - timedelta(seconds=1)).isoformat(), (window.end + timedelta(seconds=1)).isoformat()):
        with pytest.raises(PermanentError, match="can't be reached") as refused:
            aim(site, "to_time", text)
        assert f"{window.backup} from" in str(refused.value)
        assert shown in str(refused.value)
    name = log_names(db_server)[0]
    created = transactions(db_server, name)[0]
    for text in (str(created.gtid), f"{name}:{created.start}", f"{log_names(db_server)[1]}:5", "binlog.000999:4"):
        with pytest.raises(OutsideError, match="can't be reached"):
            aim(site, "before_gtid", text)
    with pytest.raises(PermanentError, match="is no GTID of"):
        aim(site, "to_gtid", "0-1-1" if db_server.flavour == "mysql" else f"{'a' * 8}-1111-1111-1111-{'a' * 12}:1")


def test_nothing_is_reached_across_a_gap(site: Site, db_server: SandboxServer) -> None:
    (old,) = reachable(site)
    reset(db_server)
    insert(db_server, 50)
    next_second()
    new = site.back_up().set
    next_second()
    insert(db_server, 60, 2)
    gap = site.archive().gap
    assert gap is not None
    assert (gap.reason, gap.after) == ("reset", "binlog.000003")
    after, before = reachable(site)
    assert (after.backup, after.timeline, before.backup) == (new, "000002", old.backup)
    assert (before.end, before.problem) == (old.end, gap.words)
    (stretch,) = unreachable([after, before])
    assert (stretch.start, stretch.end, stretch.reason) == (old.end, after.start, gap.words)
    lost = old.end + (after.start - old.end) / 2
    with pytest.raises(PermanentError, match=f"Can't be reached: between .*{re.escape(gap.words)}"):
        aim(site, "to_time", lost.isoformat())
    assert aim(site, "to_time", after.end.isoformat()).transactions == 2
    assert aim(site, "to_time", old.end.isoformat()).timeline == "000001"


def test_nothing_is_reached_across_a_restore_that_no_log_holds(site: Site, db_server: SandboxServer) -> None:
    what = (site.settings, site.connections, "r", "The restore r of daily/20250101_030000")
    (old,) = reachable(site)
    next_second()
    begin_unlogged(*what)
    insert(db_server, 50)
    inside = site.back_up().set
    insert(db_server, 51)
    end_unlogged(*what)
    next_second()
    new = site.back_up().set
    next_second()
    insert(db_server, 60, 2)
    gap = site.archive().gap
    assert gap is not None
    found = {window.backup: window for window in reachable(site)}
    assert list(found) == [new, inside, old.backup]
    assert (found[inside].has_logs, found[inside].end) == (False, found[inside].start)
    assert f"No log leads on from {inside}" in str(found[inside].problem)
    assert found[old.backup].end >= old.end
    stretches = unreachable(list(found.values()))
    assert [(one.start, one.end) for one in stretches] == [
        (found[old.backup].end, found[inside].start),
        (found[inside].start, found[new].start),
    ]
    lost = found[inside].start + (found[new].start - found[inside].start) / 2
    with pytest.raises(PermanentError, match="Can't be reached: between .* The restore r of"):
        aim(site, "to_time", lost.isoformat())
    assert aim(site, "to_time", found[new].end.isoformat()).transactions == 2
    assert aim(site, "to_time", old.end.isoformat()).timeline == "000001"


def test_a_missing_log_ends_the_window_and_is_named(site: Site, db_server: SandboxServer) -> None:
    names = log_names(db_server)
    (whole,) = reachable(site)
    for path in binlog_folder(site).glob(f"{names[1]}.*"):
        path.unlink()
    (window,) = reachable(site)
    assert window.last_log == names[0]
    assert f"{names[1]} is missing" in str(window.problem)
    with pytest.raises(PermanentError, match=f"{names[1]} is missing"):
        aim(site, "to_time", whole.end.isoformat())
    assert aim(site, "to_time", window.end.isoformat()).transactions == 3


def test_a_forged_sidecar_is_refused(site: Site, db_server: SandboxServer) -> None:
    (window,) = reachable(site)
    sidecar = binlog_folder(site) / f"{log_names(db_server)[1]}.json"
    sidecar.write_bytes(sidecar.read_bytes().replace(b'"transactions": 3', b'"transactions": 2'))
    with pytest.raises(IntegrityError, match=sidecar.name.replace(".", r"\.")):
        aim(site, "to_time", window.end.isoformat())


def test_a_truncated_log_is_refused(site: Site, db_server: SandboxServer) -> None:
    names = log_names(db_server)
    sealed = binlog_folder(site) / f"{names[1]}.zst.age"
    content = sealed.read_bytes()
    sealed.unlink()
    sealed.write_bytes(content[:-1])
    with pytest.raises(IntegrityError, match=sealed.name.replace(".", r"\.")):
        aim(site, "to_gtid", str(transactions(db_server, names[1])[1].gtid))


def test_a_log_that_was_replaced_by_another_signed_one_is_refused(site: Site, db_server: SandboxServer) -> None:
    (window,) = reachable(site)
    rewrite(site, log_names(db_server)[1], ["local"], archived_at=datetime.now(timezone.utc))
    with pytest.raises(IntegrityError, match="was not archived after"):
        aim(site, "to_time", window.end.isoformat())


def test_a_clock_that_jumps_is_told_and_the_log_s_order_counts(mariadb_server: SandboxServer, tmp_path: Path) -> None:
    empty(mariadb_server)
    connection = mariadb_server.connect()
    rows(connection, "CREATE DATABASE spoqplus")
    rows(connection, "CREATE TABLE spoqplus.t (id INT PRIMARY KEY)")
    site = make_site(tmp_path, mariadb_server)
    site.back_up()
    now = int(datetime.now(timezone.utc).timestamp())
    for number, ahead in enumerate((10, 100, 20, 30, 200)):
        rows(connection, f"SET TIMESTAMP = {now + ahead}")
        rows(connection, f"INSERT INTO spoqplus.t VALUES ({number})")
    site.archive()
    past = transactions(mariadb_server, log_names(mariadb_server)[0])[-5:]
    found = aim(site, "to_time", datetime.fromtimestamp(now + 50, timezone.utc).isoformat())
    assert (found.transactions, found.stop, found.back_seconds) == (1, past[1].start, 0)
    found = aim(site, "to_time", datetime.fromtimestamp(now + 150, timezone.utc).isoformat())
    assert (found.transactions, found.stop, found.back_seconds) == (4, past[4].start, 80)


def test_a_server_and_a_site_whose_clocks_are_changed_for_summer(mariadb_server: SandboxServer, tmp_path: Path) -> None:
    empty(mariadb_server)
    connection = mariadb_server.connect()
    rows(connection, "CREATE DATABASE spoqplus")
    rows(connection, "CREATE TABLE spoqplus.t (id INT PRIMARY KEY)")
    site = make_site(tmp_path, mariadb_server, timezone="Europe/Berlin")
    site.back_up()
    summer = datetime(2027, 10, 31, 0, 30, tzinfo=timezone.utc)  # 02:30, and an hour later it is 02:30 again
    rows(connection, "SET time_zone = '-05:00'")
    for number in range(4):
        rows(connection, f"SET TIMESTAMP = {int(summer.timestamp()) + 1800 * number}")
        rows(connection, f"INSERT INTO spoqplus.t VALUES ({number})")
    site.archive()
    (window,) = reachable(site)
    assert window.end == summer + timedelta(minutes=90)
    assert aim(site, "to_time", "2027-10-31T02:30:00+02:00").transactions == 1
    assert aim(site, "to_time", "2027-10-31T02:30:00+01:00").transactions == 3
    assert aim(site, "to_time", "2027-10-31T03:00:00").transactions == 4, "the site's zone: winter by then"
    with pytest.raises(SettingsError, match="comes twice"):
        aim(site, "to_time", "2027-10-31T02:30:00")


def test_a_quiet_time_behind_the_last_transaction_can_be_reached(site: Site, db_server: SandboxServer) -> None:
    insert(db_server, 91)
    for _ in range(2):
        next_second()
    rotate(db_server)
    site.archive()
    (window,) = reachable(site)
    last = transactions(db_server, log_names(db_server)[3])[-1]
    assert window.end > last.at, "the log was closed later, and nothing was written until then"
    found = aim(site, "to_time", window.end.isoformat())
    assert (found.last_at, found.stop) == (last.at, None)


def test_a_server_of_another_zone(site: Site, db_server: SandboxServer) -> None:
    rows(db_server.connect(), "SET GLOBAL time_zone = '-05:00'")
    try:
        insert(db_server, 71, 1)
        next_second()
        insert(db_server, 81, 1)
    finally:
        rows(db_server.connect(), "SET GLOBAL time_zone = 'SYSTEM'")
    site.archive()
    one, two = transactions(db_server, log_names(db_server)[3])
    assert abs(one.at - datetime.now(timezone.utc)) < timedelta(minutes=5)
    assert aim(site, "to_time", one.at.isoformat()).stop == two.start


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T14:05:09Z", "2026-01-31T14:05:09+00:00"),
        ("2026-01-31 14:05:09.25+09:00", "2026-01-31T05:05:09.250000+00:00"),
        ("2026-01-31T14:05-0530", "2026-01-31T19:35:00+00:00"),
        ("2026-07-31 14:05", "2026-07-31T12:05:00+00:00"),
        ("2026-10-25 02:30+02:00", "2026-10-25T00:30:00+00:00"),
    ],
)
def test_times_as_people_write_them(text: str, expected: str) -> None:
    found = read_target("to_time", text, "Europe/Berlin")
    assert found.time is not None
    assert found.time.isoformat() == expected
    assert found.zone == ("Europe/Berlin" if text == "2026-07-31 14:05" else None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2026-10-25 02:30", "comes twice"),
        ("2026-03-29 02:30", "does not come"),
        ("2026-02-30 10:00", "day is out of range"),
        ("2026-01-31", "hour and minute"),
        ("yesterday", "write a time such as"),
    ],
)
def test_times_that_are_none_or_two(text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        read_target("to_time", text, "Europe/Berlin")
