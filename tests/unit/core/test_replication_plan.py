"""What a replica is to get by any history and any policy of its own: nothing goes to and fro."""

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from spoqplus_backup.core.replication_plan import kept_there
from spoqplus_backup.core.repository.catalog import INCREMENTAL, SetRef
from spoqplus_backup.core.repository.retention import plan_retention
from spoqplus_backup.core.repository.retention_model import RepositoryFacts, SetFacts
from spoqplus_backup.core.settings import KeepSettings, RepositorySettings, RetentionSettings, Settings

FIRST = datetime(2025, 1, 1, 3, tzinfo=timezone.utc)
RECIPIENT = "age1ymxyng7j0w4d88k3ql9rxtjvdf6c9yk7ahlkhftpxheasrr0j4eshggk8g"
CADENCES = ("daily", "weekly", "monthly", INCREMENTAL)

keeps = st.builds(
    KeepSettings,
    days=st.one_of(st.none(), st.integers(1, 10)),
    daily=st.integers(1, 8),
    weekly=st.integers(0, 4),
    monthly=st.integers(0, 3),
    point_in_time_days=st.integers(1, 20),
)
# hours after the first moment, each once; the cadence, whether the replica has it, minutes that the run began later
histories = st.dictionaries(
    st.integers(0, 24 * 40),
    st.tuples(st.sampled_from(CADENCES), st.booleans(), st.integers(0, 50)),
    min_size=1,
    max_size=40,
)


def site(keep: KeepSettings) -> Settings:
    replica = RepositorySettings(name="dr", root="file:///dr", role="replica", keep=keep)
    local = RepositorySettings(name="local", root="file:///local")
    return Settings.model_validate(
        {
            "timezone": "UTC",
            "encryption": {"recipients": [RECIPIENT]},
            "signing": {"public_key_files": ["/signing.pub"]},
            "repositories": (local, replica),
        }
    )


@given(keeps, histories)
@hypothesis_settings(deadline=None)
def test_what_is_brought_stays_and_the_newest_of_each_cadence_is_brought(
    keep: KeepSettings, history: dict[int, tuple[str, bool, int]]
) -> None:
    facts: dict[str, SetFacts] = {}
    there: set[str] = set()
    for hours, (cadence, is_there, late) in history.items():
        at = FIRST + timedelta(hours=hours)
        began = at + timedelta(minutes=late)
        ref = SetRef(cadence, f"{at:%Y%m%d_%H%M%S}")
        facts[ref.name] = SetFacts(
            cadence=cadence,
            id=ref.id,
            bytes=1,
            started_at=began,
            finished_at=began,
            has_database=cadence != INCREMENTAL,
        )
        if is_there:
            there.add(ref.name)
    settings = site(keep)
    refs = [SetRef(item.cadence, item.id) for item in facts.values()]
    brought = {ref.name for ref in kept_there(settings, settings.repository("dr"), refs)} - there

    def retention(names: set[str], now: datetime) -> frozenset[str]:
        sets = tuple(facts[name] for name in sorted(names))
        return plan_retention(RepositoryFacts(sets=sets), keep, RetentionSettings(), now).kept_sets

    much_later = FIRST + timedelta(days=100)
    assert brought <= retention(there | brought, much_later)
    newest = {item.cadence: name for name, item in sorted(facts.items())}
    assert set(newest.values()) <= there | brought


def test_a_replica_that_keeps_everything_gets_everything_but_safety_sets() -> None:
    settings = site(KeepSettings(forever=True))
    refs = [SetRef("daily", f"{FIRST + timedelta(days=days):%Y%m%d_%H%M%S}") for days in range(400)]
    safety = SetRef("safety", "20250101_120000")
    assert set(kept_there(settings, settings.repository("dr"), [*refs, safety])) == set(refs)
    assert kept_there(settings, settings.repository("dr"), [safety]) == []


def test_a_set_of_a_wrong_clock_is_brought_and_takes_no_other_one_s_place() -> None:
    """The newest backup is of now, so that the day that the plan looks ahead lies in the future."""
    settings = site(KeepSettings(daily=3, point_in_time_days=1))
    now = datetime.now(timezone.utc)
    days = [SetRef("daily", f"{now - timedelta(days=age):%Y%m%d_%H%M%S}") for age in range(6)]
    wrong = SetRef("daily", f"{now + timedelta(days=900):%Y%m%d_%H%M%S}")
    replica = settings.repository("dr")
    assert kept_there(settings, replica, days) == days[:2], "the third would go tomorrow"
    assert kept_there(settings, replica, [*days, wrong]) == [*days[:2], wrong]
    assert kept_there(settings, replica, [wrong]) == [wrong]
