"""The configuration of a site: one YAML file, checked in full before anything runs.

Every default is the number of the owner's strategy. Times are in the site's zone, sizes and durations carry their unit
in the field's name. Credentials are not in here: a `connection` is the id of an Airflow connection.

A wrong file raises `SettingsError`, one sentence that names the file, the field and the remedy. What only the machine
that runs a task can know (are paths readable, are connections there) is `check_settings`' to say.
"""

import difflib
import os
import re
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import yaml
from croniter import CroniterError, croniter  # type: ignore[import-untyped] # it ships no types
from pydantic import AfterValidator, BaseModel, Field, PrivateAttr, ValidationError, ValidationInfo, field_validator

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.core.manifest import Model, SafeName
from spoqplus_backup.core.recipients import PRIVATE_PREFIX, is_recipient

VARIABLE = "SPOQPLUS_BACKUP_CONFIG"
DEFAULT_FOLDER = Path(__file__).parents[3] / "include" / "config"
# Components that every backup has, and the tasks that stand beside the components' groups in the DAG.
RESERVED_NAMES = frozenset({"database", "accounts", "preflight", "verify", "publish", "notify"})

_TABLE = re.compile(r"[^.\s][^.]*\..+", re.DOTALL)
_S3_ROOT = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()/-]+)?")


def _beside_the_file(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder", Path())
    return Path(folder, path.expanduser())


FilePath = Annotated[Path, AfterValidator(_beside_the_file)]
GroupName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]  # a task group's id, and a folder's name
Text = Annotated[str, Field(min_length=1)]


def _unique(names: list[str], what: str) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"has two {what} named {twice[0]}: give each a name of its own")


def _comes_true(cron: str) -> bool:
    try:
        croniter(cron).get_next()  # a 30th of February is well-formed and never comes
    except (CroniterError, ValueError):
        return False
    return len(cron.split()) == 5


class Schedules(Model):
    """When the DAGs run: cron in the site's time zone; null is only by hand."""

    daily_backup: str | None = "0 3 * * *"
    incremental_backup: str | None = "0 */6 * * *"
    binlog_archive: str | None = "*/15 * * * *"

    @field_validator("*")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        if value is not None and not _comes_true(value):
            raise ValueError(
                f"is not a cron expression that ever comes true ({value!r}): write five fields such as "
                "'0 3 * * *' (minute hour day month weekday), or null to run only by hand"
            )
        return value


class DatabaseSettings(Model):
    """The server that is backed up, and how it is dumped."""

    connection: Text = "spoqplus_mysql"
    client_directory: FilePath | None = None
    databases: tuple[Text, ...] = ()
    stall_seconds: int = Field(default=600, ge=1)
    part_mib: int | None = Field(default=None, ge=16, le=128)
    lock_ddl: bool = True
    long_query_seconds: int = Field(default=60, ge=1)


class TableSelection(Model):
    """A component of some tables of one database, each as `database.table`; `where` is SQL that holds for all."""

    name: GroupName
    tables: tuple[str, ...]
    where: Text | None = None

    @field_validator("name")
    @classmethod
    def _is_free(cls, value: str) -> str:
        if value in RESERVED_NAMES:
            raise ValueError(f"is {value}, a name that the backup itself uses: choose another")
        return value

    @field_validator("tables")
    @classmethod
    def _are_tables_of_one_database(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("is empty: name at least one table as database.table, or remove the component")
        for table in value:
            if not _TABLE.fullmatch(table):
                raise ValueError(f"has {table!r}, which is no table: write it as database.table")
        if len({table.split(".", 1)[0] for table in value}) > 1:
            raise ValueError("has tables of several databases: make one component for each database")
        return value


class StagingSettings(Model):
    """Where a run keeps its files until they are published; needs room for a compressed dump and more."""

    directory: FilePath = Path("/backup/spoqplus/staging")


class RepositorySettings(Model):
    """A place that keeps backups: `file:///folder` or `s3://bucket/prefix`, the latter with an Airflow connection."""

    name: SafeName
    root: str
    connection: Text | None = Field(default=None, validate_default=True)

    @field_validator("root")
    @classmethod
    def _is_root(cls, value: str) -> str:
        url = urlsplit(value)
        local = url.scheme == "file" and not url.netloc and len(url.path) > 1
        if not local and not _S3_ROOT.fullmatch(value):
            raise ValueError(f"is {value!r}: write file:///an/absolute/folder or s3://bucket/prefix")
        return value.rstrip("/")

    @field_validator("connection")
    @classmethod
    def _fits_root(cls, value: str | None, info: ValidationInfo) -> str | None:
        remote = str(info.data.get("root", "")).startswith("s3://")
        if remote and value is None:
            raise ValueError("is missing: name the Airflow connection that holds the credentials of this bucket")
        if value is not None and "root" in info.data and not remote:
            raise ValueError("is set for a folder: remove it, a folder needs no connection")
        return value

    @property
    def is_local(self) -> bool:
        """Whether it is a folder."""
        return self.root.startswith("file://")


class CompressionSettings(Model):
    """zstd; `workers` 0 is one for each core."""

    level: int = Field(default=3, ge=1, le=19)
    workers: int = Field(default=0, ge=0)


class EncryptionSettings(Model):
    """`age` to public keys (a host that has no identity file can't read what it writes), or `openssl` by password."""

    scheme: Literal["age", "openssl"] = "age"
    recipients: tuple[str, ...] = Field(default=(), validate_default=True)
    identity_files: tuple[FilePath, ...] = ()
    password_connection: Text = "spoqplus_backup_password"  # noqa: S105 (a connection's id)

    @field_validator("recipients")
    @classmethod
    def _are_public_keys(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not value and info.data.get("scheme") == "age":
            raise ValueError(
                "names zero recipients, so nothing could be encrypted: make a key pair with "
                "`age-keygen -o identity.txt` on the machine that restores, and put its public key (age1...) here"
            )
        for number, recipient in enumerate(value, 1):
            if recipient.upper().startswith(PRIVATE_PREFIX):  # never repeated in the message
                raise ValueError(
                    f"holds a private key (number {number}): put its public key here (`age-keygen -y identity.txt`), "
                    "take the private one off this machine, and make a new pair if others could read this file"
                )
            if not is_recipient(recipient):
                raise ValueError(
                    f"holds no public key of age (number {number}, {recipient[:12]!r}...): copy it again, "
                    "all 62 characters from age1 on"
                )
        if len(set(value)) < len(value):
            raise ValueError("names a recipient twice: remove one, a second key is there for the loss of the first")
        return value


class SigningSettings(Model):
    """Ed25519 keys in PEM files. Public ones of earlier pairs stay in the list as long as sets of theirs are kept."""

    private_key_file: FilePath | None = None
    public_key_files: tuple[FilePath, ...] = Field(default=(), validate_default=True)

    @field_validator("public_key_files")
    @classmethod
    def _has_one(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        if not value:
            raise ValueError(
                "names no file: make a pair with `spoqplus-backup keys generate` and put its public half here, "
                "or nobody could tell a forged manifest"
            )
        return value


class SlackSettings(Model):
    """Where messages go; null is nowhere."""

    connection: Text | None = "spoqplus_slack"


class RebuildSettings(Model):
    """How a server is rebuilt from nothing, by a worker on its own machine that runs as root or as its owner.

    `stop` and `start` are commands, lists of words: `[systemctl, stop, mysql]`, `[docker, stop, mysql]`, a script.
    `defaults_file` is the server's own configuration, `server_directory` the folder of its programs (None: PATH).
    `user` None is whoever owns the data directory now. `memory_mib` is InnoDB's buffer pool during the restore.
    `log_directory` is where its binary logs lie, when that is not the data directory.
    """

    data_directory: FilePath = Path("/var/lib/mysql")
    stop: tuple[Text, ...] = Field(default=("systemctl", "stop", "mysql"), min_length=1)
    start: tuple[Text, ...] = Field(default=("systemctl", "start", "mysql"), min_length=1)
    defaults_file: FilePath | None = None
    server_directory: FilePath | None = None
    user: Text | None = None
    memory_mib: int = Field(default=1024, ge=64)
    answer_seconds: float = Field(default=120, gt=0)
    keep_old: bool = False
    log_directory: FilePath | None = None


class RestoreSettings(Model):
    """How a backup is brought back. `connections` 0 is one more than cores, four at most.

    `rebuild` says for `production` and `test` how their servers are rebuilt; one that is missing can't be.
    `server_directory` is the folder of the server's programs (None: PATH), for single tables at a point in time.
    """

    test_connection: Text = "spoqplus_test_mysql"
    connections: int = Field(default=0, ge=0, le=64)
    approval_hours: float = Field(default=1, gt=0)
    binary_log: bool = False
    rebuild: dict[Literal["production", "test"], RebuildSettings] = {}
    server_directory: FilePath | None = None


class Objectives(Model):
    """What was promised; messages and plans are measured against it."""

    rto_hours: float = Field(default=4, gt=0)
    rpo_hours: float = Field(default=1, gt=0)


class Alerts(Model):
    """When a result that is formally good deserves a warning."""

    minimum_backup_bytes: int = Field(default=1 << 30, ge=0)


class AirflowSettings(Model):
    """How the DAGs sit in Airflow: the queue of the backup host, the owner, and the UI's address for links."""

    queue: Text = "default"
    owner: Text = "data-platform"
    url: str | None = Field(default=None, pattern=r"^https?://")


_COMPONENTS = (
    TableSelection(name="critical_tables", tables=("spoqplus.member_faces", "spoqplus.face_recognition_logs")),
    TableSelection(name="face_encodings", tables=("spoqplus.member_faces",), where="is_active=1"),
)
_REPOSITORIES = (
    RepositorySettings(name="local", root="file:///backup/spoqplus"),
    RepositorySettings(name="s3", root="s3://spoqplus-backup", connection="spoqplus_aws"),
)


class Settings(Model):
    """Everything that one site's file says."""

    site: GroupName = "spoqplus"
    timezone: str = "Asia/Seoul"
    language: Literal["ko", "en"] = "ko"
    schedules: Schedules = Schedules()
    database: DatabaseSettings = DatabaseSettings()
    components: tuple[TableSelection, ...] = _COMPONENTS
    staging: StagingSettings = StagingSettings()
    repositories: tuple[RepositorySettings, ...] = _REPOSITORIES
    compression: CompressionSettings = CompressionSettings()
    encryption: EncryptionSettings = Field(default={}, validate_default=True)
    signing: SigningSettings = Field(default={}, validate_default=True)
    slack: SlackSettings = SlackSettings()
    restore: RestoreSettings = RestoreSettings()
    objectives: Objectives = Objectives()
    alerts: Alerts = Alerts()
    airflow: AirflowSettings = AirflowSettings()

    _source: Path = PrivateAttr(default=Path("settings that came from no file"))

    @property
    def source(self) -> Path:
        """The file that this was read from."""
        return self._source

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, OSError, ValueError) as error:  # unknown, a folder, a path
            raise ValueError(f"is {value!r}: write a name of the time zone database such as Asia/Seoul") from error
        return value

    @field_validator("components")
    @classmethod
    def _component_names_differ(cls, value: tuple[TableSelection, ...]) -> tuple[TableSelection, ...]:
        _unique([item.name for item in value], "components")
        return value

    @field_validator("repositories")
    @classmethod
    def _repositories_differ(cls, value: tuple[RepositorySettings, ...]) -> tuple[RepositorySettings, ...]:
        if not value:
            raise ValueError("is empty: name at least one repository with a name and a root")
        _unique([item.name for item in value], "repositories")
        if len({item.root for item in value}) < len(value):
            raise ValueError("has two repositories with one and the same root: one copy is no second copy, change one")
        return value

    def repository(self, name: str) -> RepositorySettings:
        """The repository of that name.

        Raises:
            SettingsError: the file has none.
        """
        for repository in self.repositories:
            if repository.name == name:
                return repository
        known = ", ".join(repository.name for repository in self.repositories)
        raise SettingsError(f"{self.source}: `repositories` has no repository named {name}: name one of {known}.")


class _Loader(yaml.SafeLoader):
    """YAML without surprises: a key that stands twice is an error, not silently the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the field {key} stands twice: remove one of the two", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.load(path.read_text("utf-8"), Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except OSError as error:
        raise SettingsError(
            f"{path} can't be read ({error.strerror}): correct the path or its permissions; {VARIABLE} names it."
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8.") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError(f"{path}: line {line} can't be read: {error.problem}: correct this line.") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML ({type(error).__name__}): correct it.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path} holds no fields: write `field: value` lines, as in include/config/spoqplus.yaml.")
    return content


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """The fields that are known where the unknown one stood."""
    model: Any = Settings
    for step in location:
        if isinstance(step, int):
            model = model.__args__[0]
        elif isinstance(model, type) and issubclass(model, BaseModel) and step in model.model_fields:
            model = model.model_fields[step].annotation
    return list(model.model_fields)


def _complaint(error: Mapping[str, Any]) -> str:
    location = error["loc"]
    field = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).lstrip(".")
    if error["type"] == "extra_forbidden":
        known = _fields_at(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        remedy = f"write `{near[0]}`" if near else f"remove it or use one of {', '.join(known)}"
        return f"`{field}` is an unknown field: {remedy}"
    if error["type"] == "missing":
        return f"`{field}` is missing: add it"
    if error["type"] == "value_error":
        return f"`{field}` {error['ctx']['error']}"
    return f"`{field}` is wrong: {error['msg'][:1].lower()}{error['msg'][1:]}; correct the value"


def load_settings(path: Path | None = None) -> Settings:
    """Read one site's file; without a path the only one of `settings_files`.

    Raises:
        SettingsError: it can't be read, or something in it is wrong.
    """
    if path is None:
        files = settings_files()
        if len(files) > 1:
            names = ", ".join(map(str, files))
            raise SettingsError(f"There are several configuration files ({names}): say which one.")
        path = files[0]
    try:
        settings = Settings.model_validate(_read_yaml(path), context={"folder": path.parent.absolute()})
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_input=False)
        more = f" ({len(others)} more after this one)" if others else ""
        raise SettingsError(f"{path}: {_complaint(first)}{more}.") from None  # the cause would show what was typed
    settings._source = path
    return settings


def settings_files() -> list[Path]:
    """The configuration files: SPOQPLUS_BACKUP_CONFIG (a file, or a folder of *.yaml), or those of include/config.

    Raises:
        SettingsError: there is none.
    """
    chosen = os.environ.get(VARIABLE)
    path = Path(chosen) if chosen else DEFAULT_FOLDER
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml"))
    if not files:
        raise SettingsError(f"{path} holds no *.yaml file: put a site's file there or point {VARIABLE} at one.")
    return files


def load_sites() -> list[Settings]:
    """Every site that is configured.

    Raises:
        SettingsError: a file is wrong, or two of them describe one site or share a repository.
    """
    sites: list[Settings] = []
    for settings in map(load_settings, settings_files()):
        for other in sites:
            for complaint in _collisions(settings, other):
                raise SettingsError(f"{settings.source}: {complaint} in {other.source} too: change one of the two.")
        sites.append(settings)
    return sites


def _collisions(settings: Settings, other: Settings) -> Iterator[str]:
    if settings.site == other.site:
        yield f"`site` is {settings.site}"
    for repository in settings.repositories:
        if repository.root in {item.root for item in other.repositories}:
            yield f"`repositories` has the root {repository.root}"


def check_settings(settings: Settings, connections: Connections, *, restoring: bool = False) -> list[str]:
    """What is wrong with the configuration on this machine, a sentence each: paths, keys, connections.

    Args:
        settings: the site.
        connections: where its credentials are.
        restoring: also look at what only a restore needs, such as private keys of age.
    """
    from spoqplus_backup.core.settings_check import problems  # loads cryptography, which no DAG file needs

    return list(problems(settings, connections, restoring=restoring))
