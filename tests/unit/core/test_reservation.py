"""Room on the staging disk: reserved before it is used, waited for, refused when it can never be had."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from spoqplus_backup.core import reservation
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.reservation import LEDGER, STALE, refuse_hopeless, release, reserve
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.staging import Staging

MIB = 1 << 20
DISK = 100 * MIB
RECIPIENT = "age1ymxyng7j0w4d88k3ql9rxtjvdf6c9yk7ahlkhftpxheasrr0j4eshggk8g"


class Disk(NamedTuple):
    """A staging disk of 100 MiB."""

    settings: Settings
    root: Path

    def claim(self, cadence: str) -> Staging:
        staging = Staging(self.root, "spoqplus", cadence, "20260301_030000")
        assert staging.claim(f"run/{cadence}", ["database"])
        return staging

    def write(self, staging: Staging, mib: int) -> Path:
        path = staging.component("database") / "raw" / "000001.sql"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(mib * MIB))
        return path


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    settings = Settings.model_validate(
        {
            "staging": {"directory": str(tmp_path)},
            "encryption": {"recipients": [RECIPIENT]},
            "signing": {"public_key_files": ["signing.pub"]},
        }
    )

    def free(directory: Path) -> int:
        return DISK - reservation._use(directory).bytes

    monkeypatch.setattr(reservation, "free_bytes", free)
    monkeypatch.setattr(reservation, "POLL_SECONDS", 0.02)
    return Disk(settings, tmp_path)


def test_what_fits_beside_the_others_is_reserved(disk: Disk) -> None:
    reserve(disk.settings, disk.claim("daily"), "run/daily", 60 * MIB)
    reserve(disk.settings, disk.claim("weekly"), "run/weekly", 30 * MIB)
    with pytest.raises(BackupError, match=r"no room for 30\.0 MiB beside spoqplus/daily/.* \(60\.0 MiB to come\)"):
        reserve(disk.settings, disk.claim("monthly"), "run/monthly", 30 * MIB)


def test_what_lies_there_already_is_not_counted_twice(disk: Disk) -> None:
    daily = disk.claim("daily")
    reserve(disk.settings, daily, "run/daily", 60 * MIB)
    disk.write(daily, 50)
    reserve(disk.settings, disk.claim("weekly"), "run/weekly", 39 * MIB)  # 50 lie there, 10 are to come


def test_a_retry_keeps_what_it_has(disk: Disk) -> None:
    daily = disk.claim("daily")
    for _ in range(3):
        reserve(disk.settings, daily, "run/daily", 80 * MIB)
    disk.write(daily, 70)
    reserve(disk.settings, daily, "run/daily", 80 * MIB)


def test_what_never_fits_is_no_reason_to_wait(disk: Disk) -> None:
    with pytest.raises(PermanentError, match=r"but the backup may take 101\.0 MiB: free some"):
        refuse_hopeless(disk.settings, 101 * MIB)
    with pytest.raises(PermanentError, match=r"but the backup may take 101\.0 MiB: free some"):
        reserve(disk.settings, disk.claim("daily"), "run/daily", 101 * MIB, wait_seconds=60)


def test_what_fits_when_the_others_are_done_is_worth_waiting_for(disk: Disk) -> None:
    daily = disk.claim("daily")
    reserve(disk.settings, daily, "run/daily", 90 * MIB)
    disk.write(daily, 40)
    refuse_hopeless(disk.settings, 95 * MIB)
    with pytest.raises(BackupError) as caught:
        reserve(disk.settings, disk.claim("weekly"), "run/weekly", 95 * MIB)
    assert not isinstance(caught.value, PermanentError)


def waiting(disk: Disk, needed: int) -> tuple[threading.Thread, list[Exception]]:
    failures: list[Exception] = []
    weekly = disk.claim("weekly")

    def wait() -> None:
        try:
            reserve(disk.settings, weekly, "run/weekly", needed, wait_seconds=30)
        except BackupError as error:
            failures.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread, failures


def published(disk: Disk, staging: Staging) -> None:
    staging.remove()
    release(disk.settings, staging)


def killed_after_publishing(disk: Disk, staging: Staging) -> None:
    staging.remove()


def encrypted(disk: Disk, staging: Staging) -> None:
    (staging.component("database") / "raw" / "000001.sql").unlink()
    (staging.component("database") / "encrypt.json").write_text("{}")


@pytest.mark.parametrize("end", [published, killed_after_publishing, encrypted])
def test_who_waits_goes_on_when_the_other_is_done(disk: Disk, end: Callable[[Disk, Staging], None]) -> None:
    daily = disk.claim("daily")
    reserve(disk.settings, daily, "run/daily", 90 * MIB)
    disk.write(daily, 10)
    thread, failures = waiting(disk, 60 * MIB)
    thread.join(0.2)
    assert thread.is_alive()

    end(disk, daily)

    thread.join(30)
    assert not thread.is_alive()
    assert failures == []


def test_a_dead_run_holds_nothing_but_what_lies_there(disk: Disk) -> None:
    daily = disk.claim("daily")
    reserve(disk.settings, daily, "run/daily", 90 * MIB)
    part = disk.write(daily, 20)
    later = time.time() + STALE.total_seconds() + 60
    reserve(disk.settings, disk.claim("weekly"), "run/weekly", 75 * MIB, clock=lambda: later)

    with pytest.raises(PermanentError, match="folders of runs that failed lie there until they are cleared"):
        reserve(
            disk.settings, disk.claim("monthly"), "run/monthly", 99 * MIB, clock=lambda: later + STALE.total_seconds()
        )
    assert part.exists()


def test_a_run_that_writes_is_alive_however_long_it_takes(disk: Disk) -> None:
    daily = disk.claim("daily")
    reserve(disk.settings, daily, "run/daily", 90 * MIB)
    later = time.time() + STALE.total_seconds() + 60
    os.utime(disk.write(daily, 1), (later, later))
    with pytest.raises(BackupError, match="beside spoqplus/daily"):
        reserve(disk.settings, disk.claim("weekly"), "run/weekly", 50 * MIB, clock=lambda: later + 60)


def test_many_at_once_never_reserve_more_than_there_is(disk: Disk) -> None:
    got: list[str] = []

    def take(number: int) -> None:
        staging = Staging(disk.root, "spoqplus", "daily", f"20260301_0300{number:02d}")
        staging.claim(f"run/{number}", ["database"])
        try:
            reserve(disk.settings, staging, f"run/{number}", 30 * MIB)
        except BackupError:
            return
        got.append(staging.path.name)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 3


def test_sets_that_are_gone_leave_the_ledger(disk: Disk) -> None:
    daily = disk.claim("daily")
    reserve(disk.settings, daily, "run/daily", MIB)
    daily.remove()
    weekly = disk.claim("weekly")
    reserve(disk.settings, weekly, "run/weekly", MIB)
    ledger = (disk.root / LEDGER).read_text()
    assert "spoqplus/weekly/" in ledger
    assert "spoqplus/daily/" not in ledger

    release(disk.settings, weekly)
    assert "weekly" not in (disk.root / LEDGER).read_text()
