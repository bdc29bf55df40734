"""Credentials by the id of an Airflow connection: what the core needs of them, and their source without Airflow.

A record of Airflow's (type, host, login, ...) becomes a database login, an S3 client, a secret or a webhook here, the
same way whoever read the record. Nothing in here logs or shows a value; an error names the connection and the field.
"""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from spoqplus_backup.core.errors import SettingsError

AWS_ATTEMPTS = 5
AWS_TIMEOUT_SECONDS = 60
S3_POOL = 16  # at least the pieces that are sent at once
SLACK_API = "slack"  # the type of a bot's connection
FILE_VARIABLE = "SPOQPLUS_CONNECTIONS_FILE"
_SLACK_HOST = "https://hooks.slack.com/services"


@dataclass(frozen=True)
class DatabaseLogin:
    """How to log in at a MySQL or MariaDB server; `socket` goes before host and port."""

    host: str | None
    user: str
    password: str = field(repr=False)
    port: int = 3306
    socket: str | None = None
    ssl_ca: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None
    ssl_mode: str | None = None

    @property
    def address(self) -> str:
        """The server, for people."""
        return self.socket or f"{self.host or 'localhost'}:{self.port}"


class Connections(Protocol):
    """Credentials by connection id. All raise `SettingsError` when there is no such connection, or it lacks a field."""

    def database(self, connection_id: str) -> DatabaseLogin:
        """The login at a database server."""

    def s3_client(self, connection_id: str) -> Any:
        """A boto3 S3 client."""

    def aws_client(self, connection_id: str, service: str, region: str | None = None) -> Any:
        """A boto3 client of another service of AWS."""

    def aws_environment(self, connection_id: str, region: str) -> tuple[dict[str, str], bytes | None]:
        """What lets another program talk to AWS: variables, and the content of a file of keys."""

    def secret(self, connection_id: str) -> str:
        """The password field."""

    def login(self, connection_id: str) -> tuple[str, str]:
        """The login and password fields."""

    def webhook(self, connection_id: str) -> str:
        """The URL of an incoming webhook; it is a secret too."""

    def is_slack_bot(self, connection_id: str) -> bool:
        """Whether it is a bot's (Slack API), not a webhook's."""


@dataclass(frozen=True)
class ConnectionRecord:
    """The fields of an Airflow connection."""

    id: str
    type: str = ""
    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    schema: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


class RecordConnections(ABC):
    """`Connections` for whoever can look up a record."""

    @abstractmethod
    def record(self, connection_id: str) -> ConnectionRecord:
        """The record of that id.

        Raises:
            SettingsError: there is none.
        """

    def database(self, connection_id: str) -> DatabaseLogin:
        """The login at a database server; extra: `unix_socket`, `ssl` ({ca, cert, key}), `ssl_mode`."""
        return database_login(self.record(connection_id))

    def s3_client(self, connection_id: str) -> Any:
        """A boto3 S3 client; extra as of Airflow's Amazon connections: `endpoint_url`, `region_name`, `role_arn`."""
        return s3_client(self.record(connection_id))

    def aws_client(self, connection_id: str, service: str, region: str | None = None) -> Any:
        """A boto3 client of a service (`rds`, `route53`, ...); its region, or else that of the connection's extra."""
        return aws_client(self.record(connection_id), service, region)

    def aws_environment(self, connection_id: str, region: str) -> tuple[dict[str, str], bytes | None]:
        """What lets another program talk to AWS: variables, and the content of a file of keys."""
        return aws_environment(self.record(connection_id), region)

    def secret(self, connection_id: str) -> str:
        """The password field."""
        return _required(self.record(connection_id), "password")

    def login(self, connection_id: str) -> tuple[str, str]:
        """The login and password fields."""
        record = self.record(connection_id)
        return _required(record, "login"), _required(record, "password")

    def webhook(self, connection_id: str) -> str:
        """The URL of an incoming webhook."""
        return webhook_url(self.record(connection_id))

    def is_slack_bot(self, connection_id: str) -> bool:
        """Whether it is a bot's (Slack API), which has a token in its password field."""
        record = self.record(connection_id)
        if record.type != SLACK_API:
            return False
        _required(record, "password")
        return True


class EnvironmentConnections(RecordConnections):
    """Connections from `AIRFLOW_CONN_<ID>` in Airflow's two notations (URI, JSON): for the command line.

    What no variable says may be in the file that `SPOQPLUS_CONNECTIONS_FILE` names: JSON by connection id, as Airflow's
    LocalFilesystemBackend reads it.
    """

    def record(self, connection_id: str) -> ConnectionRecord:
        """The record of that id.

        Raises:
            SettingsError: the variable is not set or can't be read.
        """
        variable = f"AIRFLOW_CONN_{connection_id.upper()}"
        value = os.environ.get(variable, "").strip() or self._in_file(connection_id)
        if not value:
            raise SettingsError(
                f"There is no connection {connection_id}: set the variable {variable} (its URI or JSON), or, in "
                f"Airflow, add it with `airflow connections add {connection_id}`."
            )
        try:
            return _from_json(connection_id, value) if value.startswith("{") else _from_uri(connection_id, value)
        except ValueError:  # its text may hold the value
            raise SettingsError(
                f"The variable {variable} holds no connection: write it as `airflow connections get "
                f"{connection_id} -o json` shows it, or as type://login:password@host:port with special "
                "characters percent-encoded."
            ) from None

    def _in_file(self, connection_id: str) -> str:
        """What the file says of a connection; empty when there is no file, or nothing in it."""
        file = os.environ.get(FILE_VARIABLE)
        if not file:
            return ""
        try:
            found = json.loads(Path(file).read_text("utf-8")).get(connection_id, "")
        except (OSError, ValueError, AttributeError) as error:
            reason = getattr(error, "strerror", None) or "it is no JSON object"  # its text may hold the value
            raise SettingsError(f"The file {file} that {FILE_VARIABLE} names can't be read: {reason}.") from None
        return found if isinstance(found, str) else json.dumps(found)


def _extra(value: object) -> dict[str, Any]:
    extra = json.loads(value) if isinstance(value, str) and value else value or {}
    if not isinstance(extra, dict):
        raise ValueError("`extra` is no object")  # noqa: TRY004 (the content is wrong, not the program)
    return extra


def _from_json(connection_id: str, text: str) -> ConnectionRecord:
    fields = json.loads(text)
    return ConnectionRecord(
        id=connection_id,
        type=fields.get("conn_type") or "",
        host=fields.get("host") or None,
        port=int(fields["port"]) if fields.get("port") else None,
        login=fields.get("login"),
        password=fields.get("password"),
        schema=fields.get("schema") or None,
        extra=_extra(fields.get("extra", fields.get("extra_dejson"))),
    )


def _from_uri(connection_id: str, text: str) -> ConnectionRecord:
    kind, separator, rest = text.partition("://")
    if not separator or not kind:
        raise ValueError("no scheme")
    protocol, separator, inner = rest.partition("://")  # slackwebhook://https://hooks.example/...
    nested = bool(separator) and "@" not in protocol and "?" not in protocol
    parts = urlsplit("//" + (inner if nested else rest))
    host = unquote(parts.hostname) if parts.hostname else None
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return ConnectionRecord(
        id=connection_id,
        type=kind.replace("-", "_"),
        host=f"{protocol}://{host}" if nested and host else host,
        port=parts.port,
        login=unquote(parts.username) if parts.username is not None else None,
        password=unquote(parts.password) if parts.password is not None else None,
        schema=unquote(parts.path[1:]) or None,
        extra=_extra(query["__extra__"]) if "__extra__" in query else query,
    )


def _required(record: ConnectionRecord, name: str) -> str:
    value = getattr(record, name)
    if not value:
        raise SettingsError(f"The connection {record.id} has no {name}: set it in the connection.")
    return str(value)


def database_login(record: ConnectionRecord) -> DatabaseLogin:
    """A MySQL or MariaDB connection as a login.

    Raises:
        SettingsError: it has no login, or its `ssl` can't be read.
    """
    try:
        ssl = _extra(record.extra.get("ssl"))
    except ValueError:
        raise SettingsError(
            f"The connection {record.id} has an `ssl` that can't be read: write it as an object with ca, cert and key."
        ) from None
    return DatabaseLogin(
        host=record.host,
        user=_required(record, "login"),
        password=record.password or "",
        port=record.port or 3306,
        socket=record.extra.get("unix_socket") or None,
        ssl_ca=ssl.get("ca"),
        ssl_cert=ssl.get("cert"),
        ssl_key=ssl.get("key"),
        ssl_mode=record.extra.get("ssl_mode") or None,
    )


def webhook_url(record: ConnectionRecord) -> str:
    """The URL of a Slack webhook connection, put together as Airflow's own hook does.

    Raises:
        SettingsError: it has no token in its password field.
    """
    token = _required(record, "password").strip()
    if "://" in token:
        return token
    host = record.host or _SLACK_HOST
    base = host if "://" in host else f"{record.schema or 'https'}://{host}"
    return f"{base.rstrip('/')}/{token.lstrip('/')}"


def s3_client(record: ConnectionRecord) -> Any:
    """A boto3 S3 client of an Amazon connection.

    Keys come from login and password, or `aws_access_key_id` and `aws_secret_access_key` in the extra, or, without
    either, from where boto3 looks by itself (profile, instance role). Checksums are the caller's: SHA-256, always sent.

    Raises:
        SettingsError: what the connection says can't be used.
    """
    from spoqplus_backup.core.s3_pages import read_pages

    client = _client(
        record,
        "s3",
        signature_version="s3v4",
        # what is sent carries its SHA-256 in a signed header: to hash it again for the signature would say no more
        s3={"payload_signing_enabled": False} | ({"addressing_style": "path"} if _endpoint(record, "s3") else {}),
        max_pool_connections=S3_POOL,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    read_pages(client)
    return client


def aws_client(record: ConnectionRecord, service: str, region: str | None = None) -> Any:
    """A boto3 client of any service, with credentials, endpoint and role as of `s3_client`.

    Raises:
        SettingsError: what the connection says can't be used, or there is no region.
    """
    return _client(record, service, region)


def _endpoint(record: ConnectionRecord, service: str) -> str | None:
    extra = record.extra
    return extra.get("service_config", {}).get(service, {}).get("endpoint_url") or extra.get("endpoint_url")


def _client(record: ConnectionRecord, service: str, region: str | None = None, **options: Any) -> Any:
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    extra = record.extra
    config = Config(
        retries={"mode": "standard", "total_max_attempts": AWS_ATTEMPTS},
        connect_timeout=AWS_TIMEOUT_SECONDS,
        read_timeout=AWS_TIMEOUT_SECONDS,
        **options,
    )
    if config_kwargs := extra.get("config_kwargs"):
        config = config.merge(Config(**config_kwargs))
    endpoint = _endpoint(record, service)
    try:
        return _session(record).client(
            service, region_name=region, endpoint_url=endpoint, verify=extra.get("verify"), config=config
        )
    except (BotoCoreError, ValueError) as error:  # no such profile, no region, no URL
        raise SettingsError(
            f"The connection {record.id} can't be used for {service}: {error}: correct its extra."
        ) from error


def aws_environment(record: ConnectionRecord, region: str) -> tuple[dict[str, str], bytes | None]:
    """What lets another program talk to AWS as the connection does: variables, and the content of a file of keys.

    The variables hold nothing secret; `AWS_SHARED_CREDENTIALS_FILE` is the caller's to set to where the content is.
    None when boto3 finds no keys: the program looks for itself. Keys of a role last as long as the role grants them.

    Raises:
        SettingsError: what the connection says can't be used.
        BotoCoreError, ClientError: its role can't be taken now.
    """
    from botocore.exceptions import ProfileNotFound

    variables = {"AWS_REGION": region, "AWS_CONFIG_FILE": os.devnull}
    if endpoint := record.extra.get("endpoint_url"):
        variables["AWS_ENDPOINT_URL"] = endpoint
    try:
        found = _session(record).get_credentials()
    except ProfileNotFound as error:
        raise SettingsError(f"The connection {record.id} gives no credentials: {error}: correct its extra.") from error
    keys = found.get_frozen_credentials() if found else None
    if keys is None or not keys.access_key:
        return variables, None
    lines = ["[default]", f"aws_access_key_id={keys.access_key}", f"aws_secret_access_key={keys.secret_key}"]
    if keys.token:
        lines.append(f"aws_session_token={keys.token}")
    return variables, ("\n".join(lines) + "\n").encode()


@cache
def _api_descriptions() -> Any:
    """botocore's reader of its descriptions of the AWS APIs: to read S3's anew takes 50 ms for each client."""
    from botocore.session import get_session

    return get_session().get_component("data_loader")


def _core_session() -> Any:
    from botocore.session import get_session

    from spoqplus_backup.core.s3_pages import moment

    session = get_session()
    session.register_component("data_loader", _api_descriptions())
    # botocore reads times with dateutil, which takes four fifths of the time that a listing of versions takes
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=moment)
    return session


def _session(record: ConnectionRecord) -> Any:
    import boto3
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

    extra = record.extra
    access_key = record.login or extra.get("aws_access_key_id")
    secret_key = record.password or extra.get("aws_secret_access_key")
    if bool(access_key) != bool(secret_key):
        raise SettingsError(
            f"The connection {record.id} has only half of an access key: set login and password, or neither to use "
            "what the machine has (a profile, an instance role)."
        )
    session = boto3.session.Session(
        botocore_session=_core_session(),
        aws_access_key_id=access_key or None,
        aws_secret_access_key=secret_key or None,
        aws_session_token=extra.get("aws_session_token"),
        # a server of one's own does not care, but a request can't be signed without one
        region_name=extra.get("region_name") or ("us-east-1" if extra.get("endpoint_url") else None),
        profile_name=extra.get("profile_name"),
    )
    role = extra.get("role_arn")
    if not role:
        return session
    method = extra.get("assume_role_method", "assume_role")
    if method != "assume_role":
        raise SettingsError(
            f"The connection {record.id} wants the role by {method}: only assume_role is supported; remove `role_arn` "
            "and let the environment say it (AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE)."
        )
    fetcher = AssumeRoleCredentialFetcher(
        session._session.create_client,
        session.get_credentials(),
        role,
        extra_args={"RoleSessionName": "spoqplus-backup", **extra.get("assume_role_kwargs", {})},
    )
    assumed = _core_session()
    # they are renewed when they run out: an upload may take longer than a role lasts
    assumed._credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
    return boto3.session.Session(botocore_session=assumed, region_name=session.region_name)
