"""What is open in Slack, kept in an Airflow Variable; the real one is in the end-to-end test of the daily backup."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.sdk import Variable

from spoqplus_backup.notifications.memory import MOST_THREADS, Thread, VariableMemory

KEY = "slack_threads.spoqplus_daily_backup"
NOW = datetime(2026, 1, 2, 3, 15, tzinfo=timezone.utc)


class Store:
    """Airflow's variables, without their server."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.writes = 0

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: str, description: str | None = None) -> None:
        self.writes += 1
        self.values[key] = value

    def delete(self, key: str) -> None:
        del self.values[key]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    for name in ("get", "set", "delete"):
        monkeypatch.setattr(Variable, name, getattr(store, name))
    return store


def memory() -> VariableMemory:
    return VariableMemory("spoqplus_daily_backup")


def thread(hours: float = 0, **fields: Any) -> Thread:
    at = NOW + timedelta(hours=hours)
    return Thread(first_at=at, last_at=at, **fields)


def test_what_was_kept_comes_back(store: Store) -> None:
    kept = thread(cause="c", count=3, runs=["r"], ts="1.2", channel="C1", blocks=[{"type": "divider"}], told_at=NOW)
    memory().keep([kept])
    assert list(store.values) == [KEY]
    assert memory().threads() == [kept]


def test_nothing_is_written_when_nothing_changed_and_nothing_stays_when_nothing_is_open(store: Store) -> None:
    memory().keep([])
    assert (store.values, store.writes) == ({}, 0)
    memory().keep([thread()])
    again = memory()
    again.keep(again.threads())
    assert store.writes == 1
    again.keep([])
    assert store.values == {}


def test_only_the_newest_are_kept(store: Store) -> None:
    memory().keep([thread(number, count=number) for number in range(MOST_THREADS + 3)])
    assert [found.count for found in memory().threads()] == list(range(3, MOST_THREADS + 3))


@pytest.mark.parametrize("value", ["not JSON", "{}", '[{"count": "many"}]'])
def test_what_somebody_wrote_there_is_begun_anew(store: Store, value: str) -> None:
    store.values[KEY] = value
    assert memory().threads() == []


def test_a_database_that_is_down_costs_a_message_too_many(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object, **__: object) -> None:
        raise ConnectionError("the API server is gone")

    for name in ("get", "set", "delete"):
        monkeypatch.setattr(Variable, name, down)
    assert memory().threads() == []
    memory().keep([thread()])
