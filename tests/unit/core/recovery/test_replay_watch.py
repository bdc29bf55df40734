"""A replay's client that ends by itself says why; only one that does not is a stall."""

import pytest

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.process import Child, ProcessError
from spoqplus_backup.core.recovery import replay_watch
from spoqplus_backup.core.recovery.replay_watch import Watch


def stalled(reason: str) -> ProcessError:
    return ProcessError("The replay", reason, "")


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """At its first look the session is gone at the target, and so long that it would be a stall."""
    gone = replay_watch._Doing("its session is gone at the target", works=False, place="")
    monkeypatch.setattr(replay_watch, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(Watch, "_doing", lambda _: gone)
    return Watch(DatabaseLogin(host="nowhere", user="nobody", password=""), "key", 0)


def child(script: str) -> Child:
    return Child(["sh", "-c", script], stdin=-1)


def test_the_servers_error_is_told_not_the_stall(watch: Watch) -> None:
    with child("cat; echo 'ERROR 1205: Lock wait timeout exceeded' >&2; exit 1") as client:
        watch.follow(client)
        client.stdin.close()
        watch.wait(client, stalled)
        with pytest.raises(ProcessError, match="Lock wait timeout exceeded"):
            client.finish()


def test_a_client_that_came_to_its_end_has_not_failed(watch: Watch) -> None:
    with child("exec cat") as client:
        watch.follow(client)
        client.stdin.close()
        watch.wait(client, stalled)
        assert client.finish() == 0


def test_a_client_that_does_not_end_is_a_stall(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_watch, "END_SECONDS", 0.01)
    with child("exec cat") as client:
        watch.follow(client)
        with pytest.raises(ProcessError, match=r"made no progress .*its session is gone at the target"):
            watch.wait(client, stalled)


def test_what_hangs_behind_a_client_that_has_ended_is_a_stall(watch: Watch) -> None:
    with child("true") as client, child("exec cat") as binlog:
        watch.follow(client)
        with pytest.raises(ProcessError, match="made no progress"):
            watch.wait(binlog, stalled)
