"""GTID sets and states: the arithmetic that says whether logs follow each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.core.mysql.gtid import GtidSet, GtidState, MariaDbGtid, MySqlGtid, goes_on, parse_gtid, unlogged

UUIDS = ("3e11fa47-71ca-11e1-9e33-c80aa9429562", "923a27c3-e809-11f1-8d93-02fc00000001")
sources = st.tuples(st.sampled_from(UUIDS), st.sampled_from(["", "blue", "green"]))
members = st.sets(st.builds(MySqlGtid, sources, st.integers(1, 40)), max_size=60)


def made(gtids: set[MySqlGtid]) -> GtidSet:
    found = GtidSet()
    for gtid in gtids:
        found.add(gtid)
    return found


@given(members)
def test_a_set_reads_back_from_its_own_text(gtids: set[MySqlGtid]) -> None:
    assert GtidSet.parse(str(made(gtids))) == made(gtids)


@given(members, st.builds(MySqlGtid, sources, st.integers(1, 40)))
def test_it_holds_what_was_added_and_nothing_else(gtids: set[MySqlGtid], one: MySqlGtid) -> None:
    assert (one in made(gtids)) == (one in gtids)


@given(members, members)
def test_it_subtracts_unites_and_compares_as_sets_do(ours: set[MySqlGtid], theirs: set[MySqlGtid]) -> None:
    assert made(ours).subtract(made(theirs)) == made(ours - theirs)
    assert (made(ours) <= made(theirs)) == (ours <= theirs)
    assert bool(made(ours)) == bool(ours)
    united = made(ours)
    united.update(made(theirs))
    assert united == made(ours | theirs)


def test_a_set_is_written_as_mysql_writes_it() -> None:
    text = f"{UUIDS[0]}:1-3:7:blue:2,\n{UUIDS[1]}:5"
    assert str(GtidSet.parse(text)) == f"{UUIDS[0]}:1-3:7:blue:2,{UUIDS[1]}:5"


def test_a_set_merges_what_touches() -> None:
    assert str(GtidSet.parse(f"{UUIDS[0]}:4-6:1-3:7")) == f"{UUIDS[0]}:1-7"


@pytest.mark.parametrize("text", ["nonsense", f"{UUIDS[0]}", f"{UUIDS[0]}:", f"{UUIDS[0]}:1-x", "0-1-2"])
def test_a_set_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(PermanentError, match="no GTID set"):
        GtidSet.parse(text)


def test_a_state_keeps_the_last_of_each_server_and_the_newest_of_each_domain() -> None:
    state = GtidState.parse("0-2-9,0-1-10,7-1-3")
    state.add(MariaDbGtid(0, 1, 11))
    assert str(state) == "0-1-11,0-2-9,7-1-3"
    assert state.position() == "0-1-11,7-1-3"
    assert state.newest(7) == MariaDbGtid(7, 1, 3)
    assert state.newest(8) is None


@pytest.mark.parametrize(
    ("begun", "ended", "before", "follows"),
    [
        ("0-1-5,7-1-3", "0-1-9,7-1-3", "0-1-9,7-1-3", True),
        ("", "", "", True),
        ("0-1-5,7-1-3", "0-1-9,7-1-3", "0-1-9", True),
        ("0-1-5,7-1-3,7-2-4", "0-1-9,7-1-3,7-2-4", "0-1-9", True),
        ("0-1-5,7-1-2", "0-1-9,7-1-3", "0-1-9", False),
        ("0-1-5,7-1-3,7-2-4", "0-1-9,7-1-3,7-2-4", "0-1-9,7-1-3", False),
        ("0-1-5", "0-1-5", "", False),
        ("0-1-5", "0-1-9", "0-1-8", False),
        ("0-1-5", "0-1-9", "0-1-9,7-1-1", False),
    ],
    ids=[
        "as it ended",
        "nothing yet",
        "a deleted domain",
        "of two servers",
        "not deleted: its last log holds something of it",
        "not deleted: half of it is there",
        "a reset",
        "back",
        "more",
    ],
)
def test_a_log_of_mariadb_goes_on_where_the_one_before_ended(
    begun: str, ended: str, before: str, follows: bool
) -> None:
    assert goes_on("mariadb", (begun, ended), before) is follows


def test_a_log_of_mysql_goes_on_where_the_one_before_ended() -> None:
    ended = f"{UUIDS[0]}:1-9,{UUIDS[1]}:1-3"
    assert goes_on("mysql", (f"{UUIDS[0]}:1-4", ended), ended)
    assert not goes_on("mysql", (f"{UUIDS[0]}:1-4", ended), f"{UUIDS[0]}:1-9")


def test_what_was_purged_and_is_in_no_later_log_was_never_logged() -> None:
    assert unlogged(f"{UUIDS[0]}:1-4", f"{UUIDS[0]}:1-9") == ""
    assert unlogged(f"{UUIDS[0]}:1-4,\n{UUIDS[1]}:1-3", f"{UUIDS[0]}:1-9") == f"{UUIDS[1]}:1-3"


@pytest.mark.parametrize("text", ["0-1", "0-1-x", "a"])
def test_a_state_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(PermanentError, match="no GTID of MariaDB"):
        GtidState.parse(text)


def test_a_gtid_is_read_as_people_write_it() -> None:
    assert parse_gtid(f" {UUIDS[0].upper()}:23 ", "mysql") == MySqlGtid((UUIDS[0], ""), 23)
    assert parse_gtid(f"{UUIDS[0]}:Blue:2", "mysql") == MySqlGtid((UUIDS[0], "blue"), 2)
    assert str(parse_gtid("0-1-4711", "mariadb")) == "0-1-4711"


@pytest.mark.parametrize(("text", "flavour"), [("0-1-4711", "mysql"), (f"{UUIDS[0]}:1", "mariadb"), ("x", "mysql")])
def test_a_gtid_of_the_other_vendor_is_refused_with_an_example(text: str, flavour: str) -> None:
    with pytest.raises(PermanentError, match="write it like"):
        parse_gtid(text, flavour)  # type: ignore[arg-type]
