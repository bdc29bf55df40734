"""Airflow's connections without Airflow, and what becomes of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.connections import (
    ConnectionRecord,
    DatabaseLogin,
    EnvironmentConnections,
    aws_client,
    aws_environment,
    s3_client,
)
from spoqplus_backup.core.errors import SettingsError

PASSWORD = "p@ss/w:rd?#&% 한글"
ENCODED = "p%40ss%2Fw%3Ard%3F%23%26%25%20%ED%95%9C%EA%B8%80"


@pytest.fixture
def connections() -> EnvironmentConnections:
    return EnvironmentConnections()


def set_connection(monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    monkeypatch.setenv("AIRFLOW_CONN_SPOQPLUS_MYSQL", text)


@pytest.mark.parametrize(
    "value",
    [
        f"mysql://backup:{ENCODED}@db.example:3307/spoqplus",
        {"conn_type": "mysql", "host": "db.example", "port": 3307, "login": "backup", "password": PASSWORD},
        {
            "conn_type": "mysql",
            "host": "db.example",
            "port": "3307",
            "login": "backup",
            "password": PASSWORD,
            "extra": "",
        },
    ],
)
def test_a_database_login(connections: EnvironmentConnections, monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    set_connection(monkeypatch, value)

    login = connections.database("spoqplus_mysql")

    assert login == DatabaseLogin(host="db.example", port=3307, user="backup", password=PASSWORD)
    assert login.address == "db.example:3307"
    assert PASSWORD not in repr(login)
    assert PASSWORD not in repr(connections.record("spoqplus_mysql"))


@pytest.mark.parametrize(
    "value",
    [
        "mysql://backup:x@db/?unix_socket=%2Frun%2Fmysqld%2Fmysqld.sock&ssl_mode=VERIFY_CA&"
        "ssl=%7B%22ca%22%3A+%22%2Fetc%2Fca.pem%22%2C+%22key%22%3A+%22k%22%2C+%22cert%22%3A+%22c%22%7D",
        "mysql://backup:x@db/?__extra__=%7B%22unix_socket%22%3A+%22%2Frun%2Fmysqld%2Fmysqld.sock%22%2C+%22ssl_mode%22%3A"
        "+%22VERIFY_CA%22%2C+%22ssl%22%3A+%7B%22ca%22%3A+%22%2Fetc%2Fca.pem%22%2C+%22key%22%3A+%22k%22%2C+%22cert%22%3A+"
        "%22c%22%7D%7D",
        {
            "conn_type": "mysql",
            "host": "db",
            "login": "backup",
            "password": "x",
            "extra": {
                "unix_socket": "/run/mysqld/mysqld.sock",
                "ssl_mode": "VERIFY_CA",
                "ssl": {"ca": "/etc/ca.pem", "key": "k", "cert": "c"},
            },
        },
    ],
    ids=["query", "__extra__", "json"],
)
def test_socket_and_certificates(
    connections: EnvironmentConnections, monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    set_connection(monkeypatch, value)

    login = connections.database("spoqplus_mysql")

    assert login.address == login.socket == "/run/mysqld/mysqld.sock"
    assert (login.ssl_mode, login.ssl_ca, login.ssl_cert, login.ssl_key) == ("VERIFY_CA", "/etc/ca.pem", "c", "k")


def test_an_unknown_connection_names_the_variable_and_airflows_command(
    connections: EnvironmentConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SPOQPLUS_MYSQL", raising=False)

    with pytest.raises(SettingsError) as caught:
        connections.database("spoqplus_mysql")

    assert "AIRFLOW_CONN_SPOQPLUS_MYSQL" in str(caught.value)
    assert "airflow connections add spoqplus_mysql" in str(caught.value)


@pytest.mark.parametrize(
    "value",
    ["nonsense", "{", "mysql://backup:secret@db:port", '{"port": "secret"}', '{"extra": "[]"}', '{"extra": "secret"}',
     "mysql://u:p@db/?ssl=secret"],
)  # fmt: skip
def test_what_is_no_connection_is_not_shown(
    connections: EnvironmentConnections, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    set_connection(monkeypatch, value)

    with pytest.raises(SettingsError, match="(?i)spoqplus_mysql") as caught:
        connections.database("spoqplus_mysql")

    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("field", ["login"])
def test_a_missing_field_is_named(
    connections: EnvironmentConnections, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    set_connection(monkeypatch, {"conn_type": "mysql", "host": "db"})

    with pytest.raises(SettingsError, match=f"The connection spoqplus_mysql has no {field}: set it"):
        connections.database("spoqplus_mysql")
    with pytest.raises(SettingsError, match="The connection spoqplus_mysql has no password: set it"):
        connections.secret("spoqplus_mysql")


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ({"password": "https://hooks.example/services/T/B/X"}, "https://hooks.example/services/T/B/X"),
        ({"password": "T/B/X"}, "https://hooks.slack.com/services/T/B/X"),
        ({"password": "/T/B/X", "host": "https://hooks.example/"}, "https://hooks.example/T/B/X"),
        ({"password": "T/B/X", "host": "127.0.0.1:9/hook", "schema": "http"}, "http://127.0.0.1:9/hook/T/B/X"),
        ("slackwebhook://:T%2FB%2FX@hooks.example", "https://hooks.example/T/B/X"),
        ("slackwebhook://https://:T%2FB%2FX@hooks.example", "https://hooks.example/T/B/X"),
    ],
)
def test_a_webhook(
    connections: EnvironmentConnections, monkeypatch: pytest.MonkeyPatch, value: object, url: str
) -> None:
    set_connection(monkeypatch, value)

    assert connections.webhook("spoqplus_mysql") == url


class TestS3Client:
    """What a client is made of; that it works is the repository's test."""

    @staticmethod
    def client(login: str | None = "AKIA", password: str | None = "secret", **extra: object) -> Any:
        return s3_client(ConnectionRecord(id="aws", type="aws", login=login, password=password, extra=extra))

    def test_of_aws(self) -> None:
        client = self.client(region_name="ap-northeast-2")

        assert client.meta.endpoint_url == "https://s3.ap-northeast-2.amazonaws.com"
        assert client.meta.config.retries == {"mode": "standard", "total_max_attempts": 5}
        assert client.meta.config.max_pool_connections == 16
        assert client.meta.config.request_checksum_calculation == "when_required"
        assert "addressing_style" not in client.meta.config.s3

    def test_of_another_server(self) -> None:
        for client in (
            self.client(endpoint_url="http://127.0.0.1:9"),
            self.client(service_config={"s3": {"endpoint_url": "http://127.0.0.1:9"}}),
        ):
            assert client.meta.endpoint_url == "http://127.0.0.1:9"
            assert client.meta.config.s3["addressing_style"] == "path"

    def test_keys_may_lie_in_the_extra(self) -> None:
        client = self.client(None, None, aws_access_key_id="AKIB", aws_secret_access_key="secret")

        assert client._request_signer._credentials.access_key == "AKIB"

    def test_more_of_botocores_options(self) -> None:
        client = self.client(config_kwargs={"retries": {"mode": "standard", "total_max_attempts": 2}})

        assert client.meta.config.retries["total_max_attempts"] == 2
        assert client.meta.config.max_pool_connections == 16

    def test_a_role(self) -> None:
        client = self.client(role_arn="arn:aws:iam::123456789012:role/backup", region_name="ap-northeast-2")

        assert client._request_signer._credentials.method == "assume-role"

    @pytest.mark.parametrize(
        "extra",
        [
            {"profile_name": "no-such-profile"},
            {"endpoint_url": "not a url"},
            {"role_arn": "arn:aws:iam::1:role/r", "assume_role_method": "assume_role_with_saml"},
            {},  # half a key
        ],
    )
    def test_what_can_not_work(self, extra: dict[str, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

        with pytest.raises(SettingsError, match="The connection aws "):
            self.client("AKIA", None, **extra)


@pytest.mark.parametrize("extra", [{"extra_dejson": {"ssl_mode": "REQUIRED"}}, {"extra": '{"ssl_mode": "REQUIRED"}'}])
def test_connections_may_lie_in_a_file_as_airflow_reads_it(
    connections: EnvironmentConnections, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, extra: dict[str, object]
) -> None:
    file = tmp_path / "connections.json"
    login = {"conn_type": "mysql", "host": "db.example", "login": "backup", "password": PASSWORD} | extra
    file.write_text(json.dumps({"spoqplus_mysql": login, "other": "mysql://other:x@other.example"}), "utf-8")
    monkeypatch.setenv("SPOQPLUS_CONNECTIONS_FILE", str(file))

    assert connections.database("spoqplus_mysql").ssl_mode == "REQUIRED"
    assert connections.database("other").user == "other"
    set_connection(monkeypatch, "mysql://first:x@db.example")
    assert connections.database("spoqplus_mysql").user == "first", "a variable goes before the file"
    with pytest.raises(SettingsError, match="There is no connection nobody"):
        connections.database("nobody")


@pytest.mark.parametrize("content", [None, '{"spoqplus_mysql": "mysql://a:hidden@db"', '["hidden"]'])
def test_a_file_of_connections_that_can_not_be_read_is_named_and_not_shown(
    connections: EnvironmentConnections, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "connections.json"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("SPOQPLUS_CONNECTIONS_FILE", str(file))

    with pytest.raises(SettingsError, match="SPOQPLUS_CONNECTIONS_FILE names can't be read") as error:
        connections.database("spoqplus_mysql")
    assert str(file) in str(error.value)
    assert "hidden" not in str(error.value)


def test_another_program_talks_to_aws_with_the_connection_s_keys_and_no_secret_variables() -> None:
    extra = {"endpoint_url": "http://127.0.0.1:9", "aws_session_token": "to/ken"}
    record = ConnectionRecord(id="aws", login="AKIA", password="se/cret", extra=extra)
    variables, keys = aws_environment(record, "ap-northeast-1")
    assert variables["AWS_REGION"] == "ap-northeast-1"
    assert variables["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9"
    assert "cret" not in "".join(variables.values())
    assert keys is not None
    assert keys.decode().splitlines() == [
        "[default]",
        "aws_access_key_id=AKIA",
        "aws_secret_access_key=se/cret",
        "aws_session_token=to/ken",
    ]
    with pytest.raises(SettingsError, match="nobody"):
        aws_environment(ConnectionRecord(id="aws", extra={"profile_name": "nobody"}), "ap-northeast-1")


def test_a_client_of_any_service_is_in_the_region_that_is_asked_for() -> None:
    record = ConnectionRecord(id="aws", login="AKIA", password="secret", extra={"region_name": "ap-northeast-2"})
    assert aws_client(record, "rds").meta.region_name == "ap-northeast-2"
    assert aws_client(record, "rds", "ap-northeast-1").meta.region_name == "ap-northeast-1"
    with pytest.raises(SettingsError, match="The connection aws can't be used for rds.*region"):
        aws_client(ConnectionRecord(id="aws", login="AKIA", password="secret"), "rds")
