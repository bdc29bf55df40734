"""What Airflow kept of the runs of the other end-to-end tests."""

import pytest

from support.world import DATABASE_PASSWORD, S3_SECRET, World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_no_secret_is_in_logs_or_in_airflow_s_database(world: World) -> None:
    world.back_up()
    secrets = [secret.encode() for secret in (DATABASE_PASSWORD, S3_SECRET, "secret-webhook-token")]
    read = [path for path in world.airflow.home.rglob("*") if path.is_file()]
    assert [path for path in read if path.name == "airflow.db"]
    assert [path for path in read if path.suffix == ".log"]
    for path in read:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret in content], f"{path} holds a secret"
