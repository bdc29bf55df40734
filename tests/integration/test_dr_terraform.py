"""Terraform as a failover runs it: a real one where PATH has one, and the stand-in everywhere."""

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core import process
from spoqplus_backup.core.connections import ConnectionRecord
from spoqplus_backup.core.dr import terraform
from spoqplus_backup.core.dr.terraform import StalePlan, StateLocked, Terraform, TerraformError, open_terraform
from spoqplus_backup.core.errors import PermanentError, SettingsError
from spoqplus_backup.core.process import Cancelled
from spoqplus_backup.core.settings import load_settings
from support import s3
from support.connections import FixedConnections
from support.servers import wait_until
from support.site_file import write_site
from support.terraform import SECRET, Configuration, binaries

pytestmark = pytest.mark.integration

REAL = [path for name, path in binaries().items() if name != "stand-in"]
AWS_SECRET = "secret/of+the=cloud"


@pytest.fixture
def binary(request: pytest.FixtureRequest) -> Path:
    """A real one where there is one; tests of what the stand-in imitates run with each."""
    return Path(getattr(request, "param", next(iter(binaries().values()))))


with_each = pytest.mark.parametrize("binary", binaries().values(), ids=binaries().keys(), indirect=True)


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return Configuration(tmp_path / "dr").write(["network", "servers"])


Open = Callable[..., Terraform]


@pytest.fixture
def opened(tmp_path: Path, binary: Path, configuration: Configuration) -> Open:
    """Opens the configuration as a run of the DAG does."""

    def open_it(run: str = "run-1", *, endpoint: str | None = None, **how: Any) -> Terraform:
        given = {"directory": str(configuration.folder), "binary": str(binary), "lock_seconds": 0, "stop_seconds": 20}
        dr = {"database": {"replica": "r"}, "terraform": given | {"secrets": {"secret": "tf_secret"}} | how}
        settings = load_settings(write_site(tmp_path, dr=dr))
        extra = {"endpoint_url": endpoint} if endpoint else {}
        return open_terraform(
            settings,
            FixedConnections(
                ConnectionRecord(id="spoqplus_aws_dr", login="AKIA", password=AWS_SECRET, extra=extra),
                ConnectionRecord(id="tf_secret", password=SECRET),
            ),
            run,
        )

    return open_it


@with_each
def test_plans_and_applies_exactly_that_and_says_what_it_does(
    opened: Open, configuration: Configuration, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    run = opened()
    run.init()
    planned = run.plan()
    assert (planned.add, planned.change, planned.destroy) == (2, 0, 0)
    assert planned.resources == ("create terraform_data.network", "create terraform_data.servers")
    assert configuration.present() == set()
    assert oct(Path(planned.path).stat().st_mode & 0o777) == "0o600"
    assert oct(Path(planned.path).parents[1].stat().st_mode & 0o777) == "0o700"

    configuration.write(["network", "servers", "not_in_the_plan"])
    applied = run.apply(opened().kept_plan())  # another task of the same run
    assert (applied.add, applied.change, applied.destroy) == (2, 0, 0)
    assert configuration.present() == {"network", "servers"}
    outputs = run.outputs()
    assert outputs["fingerprint"] == hashlib.sha256(SECRET.encode()).hexdigest()  # it arrived to the byte
    assert (outputs["region"], outputs["password"]) == ("ap-northeast-1", None)

    assert "terraform_data.servers" in caplog.text
    assert "2 to add" in caplog.text
    assert AWS_SECRET not in caplog.text
    assert "hunter2" not in caplog.text
    configuration.write(["network", "servers"])
    assert not run.plan().changes


def test_secrets_are_in_no_argument_and_no_environment(
    opened: Open, configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Watched(process.Child):
        def __init__(self, argv: Any, **options: Any) -> None:
            super().__init__(argv, **options)
            for name in ("cmdline", "environ"):
                seen.append(Path(f"/proc/{self.pid}/{name}").read_bytes())

    monkeypatch.setattr(terraform, "Child", Watched)
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "a-secret-of-the-worker")
    opened().plan()
    text = b"".join(seen).decode()
    assert "-var=environment=dr" in text
    assert "TF_DATA_DIR" in text
    for secret in ("hunter2", AWS_SECRET, "a-secret-of-the-worker"):
        assert secret not in text


@with_each
def test_a_failure_half_way_is_told_and_the_next_plan_goes_on(
    opened: Open, configuration: Configuration, tmp_path: Path
) -> None:
    healed = tmp_path / "healed"
    configuration.write({"network": "true", "servers": f"test -e {healed}"})
    run = opened()
    planned = run.plan()
    with pytest.raises(TerraformError, match=r"terraform_data\.servers.*1 of 2 resources were finished") as caught:
        run.apply(planned)
    assert not isinstance(caught.value, PermanentError)  # a retry may do
    assert configuration.present() == {"network"}
    assert not configuration.is_locked
    with pytest.raises(StalePlan, match="clear the task that plans"):
        run.apply(planned)

    healed.touch()
    again = run.plan()
    assert (again.add, again.destroys) == (1, ())  # what is half made is made anew, also where nothing may be destroyed
    assert run.apply(again).add == 1
    assert configuration.present() == {"network", "servers"}


@with_each
def test_a_locked_state_is_respected_and_the_holder_named(
    opened: Open, configuration: Configuration, tmp_path: Path
) -> None:
    begun, release = tmp_path / "begun", tmp_path / "release"
    configuration.write({"network": f"touch {begun}; while [ ! -e {release} ]; do sleep 0.05; done"})
    first = opened("run-1")
    planned = first.plan()
    worker = threading.Thread(target=first.apply, args=(planned,))
    worker.start()
    try:
        wait_until(begun.exists, 20, "the first apply")
        with pytest.raises(StateLocked, match="force-unlock") as caught:
            opened("run-2").plan()
    finally:
        release.touch()
        worker.join(30)
    assert caught.value.operation == "OperationTypeApply"
    assert "@" in caught.value.who
    assert len(caught.value.lock_id) > 20
    assert opened("run-2").plan().add == 0


@with_each
def test_cancelled_it_saves_its_state_and_gives_the_lock_back(
    opened: Open, configuration: Configuration, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    configuration.write({"network": "true", "servers": f"touch {begun}; exec sleep 600"})
    run = opened()
    planned = run.plan()

    def cancel() -> None:
        wait_until(begun.exists, 20, "the second resource")
        process.cancel_all()  # asks twice: `signal_end`, then `terminate`

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(Cancelled, match="1 resources were finished"):
        run.apply(planned)
    canceller.join()
    assert configuration.present() == {"network"}
    assert not configuration.is_locked


WORKER = """
import json, sys
from pathlib import Path
from spoqplus_backup.core.dr.terraform import Binary, Planned, Terraform
from spoqplus_backup.core.settings_dr import DrTerraformSettings
binary, folder, plan = sys.argv[1:]
planned = Planned(plan, 2, 0, 0, ("a", "b"), (), 0)
how = DrTerraformSettings(directory=Path(folder), stop_seconds=20)
Terraform(Binary(binary, "terraform", "1"), how, Path(plan).parents[1] / "terraform", Path(plan), {}).apply(planned)
"""


def test_a_killed_worker_leaves_no_lock_behind(
    opened: Open, binary: Path, configuration: Configuration, tmp_path: Path
) -> None:
    """Airflow kills a cancelled task five seconds after it was told; Terraform still gets its time."""
    begun = tmp_path / "begun"
    configuration.write({"network": "true", "servers": f"touch {begun}; exec sleep 600"})
    planned = opened().plan()
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(binary), str(configuration.folder), planned.path],
        env={**os.environ, "PYTHONPATH": str(Path(terraform.__file__).parents[3])},
        stdout=subprocess.DEVNULL,
    )
    wait_until(begun.exists, 30, "the second resource")
    assert configuration.is_locked
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    wait_until(lambda: not configuration.is_locked, 30, "the lock's release")
    assert configuration.present() == {"network"}


def test_a_plan_that_destroys_is_refused_unless_it_may(opened: Open, configuration: Configuration) -> None:
    run = opened()
    run.apply(run.plan())
    configuration.write(["network"])
    planned = run.plan()
    assert (planned.destroy, planned.destroys) == (1, ("terraform_data.servers",))
    with pytest.raises(PermanentError, match=r"destroys or replaces terraform_data\.servers"):
        run.apply(planned)
    assert configuration.present() == {"network", "servers"}
    allowed = opened(allow_destroy=True)
    assert allowed.apply(allowed.kept_plan()).destroy == 1
    assert configuration.present() == {"network"}


def test_a_state_in_s3_is_locked_there_with_keys_that_were_handed_over_in_memory(tmp_path: Path) -> None:
    """The backend that the example has; only a real Terraform has it, so without one nothing is shown here."""
    with s3.moto() as endpoint:
        for real in REAL:
            works_in_s3(tmp_path / real.name, real, endpoint)


def works_in_s3(folder: Path, real: Path, endpoint: str) -> None:
    state = f"{real.name}/terraform.tfstate"
    backend = {"bucket": s3.BUCKET, "key": state, "region": "us-east-1", "use_lockfile": "true"}
    backend |= {"use_path_style": "true", "skip_requesting_account_id": "true"}
    configuration = Configuration(folder / "dr").write(["network"], backend='backend "s3" {}')
    how = {"directory": str(configuration.folder), "binary": str(real), "backend": backend, "lock_seconds": 0}
    settings = load_settings(write_site(folder, dr={"database": {"replica": "r"}, "terraform": how}))
    run = open_terraform(settings, FixedConnections(s3.record(endpoint, "spoqplus_aws_dr")), "run-1")
    run.init()
    planned = run.plan()

    client = s3.s3_client(s3.record(endpoint))
    held = {"ID": "11111111-2222", "Operation": "OperationTypeApply", "Who": "kim@laptop"}
    held["Created"] = "2026-01-02T03:04:05Z"
    client.put_object(Bucket=s3.BUCKET, Key=f"{state}.tflock", Body=json.dumps(held).encode())
    with pytest.raises(StateLocked, match="locked by kim@laptop since .*force-unlock 11111111-2222"):
        run.apply(planned)
    client.delete_object(Bucket=s3.BUCKET, Key=f"{state}.tflock")
    assert run.apply(planned).add == 1
    assert b"terraform_data" in client.get_object(Bucket=s3.BUCKET, Key=state)["Body"].read()


def test_old_plans_are_forgotten_as_they_hold_secrets(opened: Open) -> None:
    old, newer = (Path(opened(run).plan().path) for run in ("run-1", "run-2"))
    os.utime(old, (0, time.time() - 31 * 86_400))
    opened("run-3")
    assert (old.exists(), newer.exists()) == (False, True)


def test_what_is_missing_is_said(tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PermanentError, match="There is no plan at .*clear the task that plans"):
        opened().kept_plan()
    with pytest.raises(PermanentError, match=r"no terraform or tofu at .*developer\.hashicorp\.com"):
        opened(binary=str(tmp_path / "none"))
    with pytest.raises(PermanentError, match="is no terraform and no tofu"):
        opened(binary="/bin/echo")
    with pytest.raises(SettingsError, match=r"holds no \*\.tf"):
        opened(directory=str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PermanentError, match="on PATH"):
        opened(binary=None)
