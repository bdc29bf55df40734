"""The configuration of a site: one YAML file, checked in full before anything runs.

Every default is the number of the owner's strategy. Times are in the site's zone, sizes and durations carry their unit
in the field's name. Credentials are not in here: a `connection` is the id of an Airflow connection.

A wrong file raises `SettingsError`, one sentence that names the file, the field and the remedy. What only the machine
that runs a task can know (are paths readable, are connections there) is `check_settings`' to say.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter  # type: ignore[import-untyped] # it ships no types
from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.core.manifest import Model, SafeName
from spoqplus_backup.core.recipients import PRIVATE_PREFIX, is_recipient
from spoqplus_backup.core.setting_types import FilePath, GroupName, Text
from spoqplus_backup.core.settings_dr import DrSettings
from spoqplus_backup.core.yaml_file import complaint, read_yaml

VARIABLE = "SPOQPLUS_BACKUP_CONFIG"
DEFAULT_FOLDER = Path(__file__).parents[3] / "include" / "config"
# Components that every backup has, and the tasks that stand beside the components' groups in the DAG.
RESERVED_NAMES = frozenset(
    {"database", "accounts", "face_images", "environment", "preflight", "verify", "publish", "notify"}
    | {"mirror", "config_git"}
)

AFTER_BACKUP = "after_backup"  # a schedule: whenever a set was published
_MAY_FOLLOW = frozenset({"retention"})  # the DAGs that may have it

_TABLE = re.compile(r"[^.\s][^.]*\..+", re.DOTALL)
_STORAGE_CLASS = re.compile(r"[A-Z][A-Z0-9_-]*")
_FROZEN = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_S3_ROOT = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()/-]+)?")


Value = TypeVar("Value")


def _unique(names: list[str], what: str) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"has two {what} named {twice[0]}: give each a name of its own")


def _not_reserved(name: str) -> str:
    if name in RESERVED_NAMES:
        raise ValueError(f"is {name}, a name that the backup itself uses: choose another")
    return name


def _comes_true(cron: str) -> bool:
    try:
        croniter(cron).get_next()  # a 30th of February is well-formed and never comes
    except (CroniterError, ValueError):
        return False
    return len(cron.split()) == 5


class Schedules(Model):
    """When the DAGs run: cron in the site's time zone; null is only by hand. `after_backup` is after each set."""

    daily_backup: str | None = "0 3 * * *"
    weekly_backup: str | None = "0 4 * * 0"
    monthly_backup: str | None = "0 5 1 * *"
    incremental_backup: str | None = "0 */6 * * *"
    binlog_archive: str | None = "*/15 * * * *"
    retention: str | None = AFTER_BACKUP
    recovery_test: str | None = "0 6 2 * *"
    watchdog: str | None = "20 * * * *"
    monthly_digest: str | None = "0 9 3 * *"
    dr_failover: str | None = "0 7 5 1,4,7,10 *"

    @field_validator("*")
    @classmethod
    def _is_cron(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.field_name in _MAY_FOLLOW and value == AFTER_BACKUP:
            return value
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
        return _not_reserved(value)

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


class FilesSelection(Model):
    """A component of files and folders, archived with GNU tar.

    `level` is that of a daily backup: `incremental` is what changed since the last full archive (a weekly one, as a
    rule), which may be `base_days` old; weekly and monthly backups are full. `exclude` are patterns of names as tar has
    them. `missing` says what a path that is not there is: an error, or a warning as long as another path is there.
    `stall_seconds` without output end tar, which is silent while it looks through an unchanged tree. `part_mib` None is
    by the size of the whole.
    """

    name: GroupName
    paths: tuple[Path, ...] = Field(min_length=1)
    exclude: tuple[Text, ...] = ("*.tmp",)
    level: Literal["incremental", "full"] = "incremental"
    base_days: int = Field(default=8, ge=1)
    missing: Literal["error", "warn"] = "error"
    stall_seconds: int = Field(default=1800, ge=1)
    part_mib: int | None = Field(default=None, ge=16, le=128)

    @field_validator("name")
    @classmethod
    def _is_free(cls, value: str) -> str:
        return _not_reserved(value)

    @field_validator("paths")
    @classmethod
    def _are_absolute(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        for path in value:
            if not path.is_absolute() or ".." in path.parts or path == Path("/"):
                raise ValueError(f"has {str(path)!r}: write absolute paths below / without `..`")
        if len(set(value)) < len(value):
            raise ValueError("names a path twice: remove one of the two")
        return value


class SourceGuard(Model):
    """When a sync may believe a folder: it has `mount_point` mounted, `marker` in it, and lost no more than a share.

    `marker` is a file's path in the folder that is only there when the right disk is. `maximum_deletions` is a share of
    what the sync knew before: 0.1 is a tenth.
    """

    mount_point: FilePath | None = None
    marker: Text | None = None
    maximum_deletions: float = Field(default=0.1, ge=0, le=1)


class FacesSettings(SourceGuard):
    """Face images, kept file by file (docs/decisions/0019). `encrypt` false stores them readable for whoever can read
    a repository; `parallel` is how many are worked on at once.
    """

    directory: FilePath = Path("/var/www/html/face_images")
    encrypt: bool = True
    parallel: int = Field(default=8, ge=1, le=64)


class MirrorSettings(SourceGuard):
    """The copy of the uploads that rsync keeps. `exclude` are rsync's patterns; what they match is left alone there."""

    source: FilePath = Path("/var/www/html/public/uploads")
    target: FilePath = Path("/backup/uploads")
    target_mount_point: FilePath | None = None
    exclude: tuple[Text, ...] = ()
    stall_seconds: int = Field(default=3600, ge=1)

    @field_validator("target")
    @classmethod
    def _lies_apart(cls, value: Path, info: ValidationInfo) -> Path:
        source = info.data.get("source")
        if source is not None and (value.is_relative_to(source) or source.is_relative_to(value)):
            raise ValueError(f"is {value}, which lies in the source {source} or holds it: choose another folder")
        return value


class ConfigGitSettings(Model):
    """Configuration as commits on a branch for each day. What matches `exclude` never gets there.

    `remote` is a path or URL. For SSH name `ssh_key_file` and `known_hosts_file`; for HTTPS `connection`, an Airflow
    connection with login and password (or token). A pattern with `/` is held against the whole path, any other against
    the names of what is in `paths` and of the folders around it there; capital letters don't matter.
    """

    remote: Text
    paths: tuple[FilePath, ...] = (
        Path("/var/www/html/.env"),
        Path("/var/www/html/app/Config"),
        Path("/etc/nginx/sites-available"),
    )
    exclude: tuple[Text, ...] = (".env", ".env.*", "*.key", "*.pem", "*secret*", "*password*")
    branch_prefix: str = Field(default="backup-", pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")
    author: str = Field(default="SPOQ Plus backup <backup@spoqplus.com>", pattern=r"^[^<>\n]+ <[^<>\s]+>$")
    connection: Text | None = None
    ssh_key_file: FilePath | None = None
    known_hosts_file: FilePath | None = None
    timeout_seconds: int = Field(default=120, ge=1)

    @field_validator("remote")
    @classmethod
    def _holds_no_password(cls, value: str) -> str:
        url = urlsplit(value)
        if value.startswith("-") or url.password or (url.scheme.startswith("http") and url.username):
            raise ValueError("holds a user or password: take them out and name a `connection` that has them")
        return value


class EnvironmentSettings(Model):
    """Variables that are kept: of files like `.env`, and of one running process.

    The process is that of `process_file` (`/proc/123/environ`), of `pid_file`, or the main one of `systemd_unit`.
    They are encrypted as everything else, or, with `gpg_recipient`, to that owner of `gpg_public_key_file`.
    """

    files: tuple[FilePath, ...] = (Path("/var/www/html/.env"),)
    prefixes: tuple[Text, ...] = Field(default=("DB_", "APP_", "AWS_"), min_length=1)
    process_file: FilePath | None = None
    pid_file: FilePath | None = None
    systemd_unit: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9:_.@\\-]*$")] | None = Field(
        default=None, validate_default=True
    )
    gpg_recipient: Annotated[str, Field(pattern=r"^[^-\s][^\n]*$")] | None = None
    gpg_public_key_file: FilePath | None = Field(default=None, validate_default=True)
    gpg_private_key_file: FilePath | None = None

    @field_validator("systemd_unit")
    @classmethod
    def _is_one_process(cls, value: str | None, info: ValidationInfo) -> str | None:
        given = {"process_file": info.data.get("process_file"), "pid_file": info.data.get("pid_file")}
        named = [name for name, path in (given | {"systemd_unit": value}).items() if path is not None]
        if len(named) > 1:
            raise ValueError(f"can't be told: {' and '.join(named)} are set, name one process in one way")
        return value

    @field_validator("gpg_public_key_file")
    @classmethod
    def _fits_recipient(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if (value is None) != (info.data.get("gpg_recipient") is None):
            raise ValueError("and gpg_recipient go together: set both, or neither to encrypt as everything else")
        return value


class StagingSettings(Model):
    """Where a run keeps its files until they are published; needs room for a compressed dump and more.

    `wait_hours` is how long a run waits for others to end when there is no room for both.
    """

    directory: FilePath = Path("/backup/spoqplus/staging")
    wait_hours: float = Field(default=6, ge=0, le=11)  # a task ends after 12


class ObjectLockSettings(Model):
    """What nobody may delete for some days: with `governance` but for those who have the right to bypass it."""

    mode: Literal["governance", "compliance"]
    days: int = Field(ge=1, le=36_500)


class KeepSettings(Model):
    """What a repository keeps. A set stays when any of these rules keeps it; everything else goes.

    `days`: all sets of the last so many days that have a good full backup. `daily`, `weekly`, `monthly`: of the sets in
    these folders the newest of each of the last so many days, weeks and months that have one. Both count backups, not
    days up to today: when backups stop, or a clock is wrong, nothing goes. `safety_days`: what restores replaced.
    `point_in_time_days`: binary logs, from the oldest kept full backup in so many days before the newest good one.
    `forever`: nothing is ever deleted here.
    """

    days: int | None = Field(default=None, ge=1)
    daily: int = Field(default=0, ge=0)
    weekly: int = Field(default=0, ge=0)
    monthly: int = Field(default=0, ge=0)
    safety_days: int = Field(default=30, ge=1)
    point_in_time_days: int = Field(default=30, ge=1)
    forever: bool = False

    @model_validator(mode="after")
    def _keeps_something(self) -> "KeepSettings":
        if not (self.forever or self.days or self.daily):
            raise ValueError("would keep no daily backups: set `days` or `daily`, or `forever: true`")
        return self


# The strategy's: 7 days on the disk; in S3 30 daily sets, and the grandfathers.
_KEEP_LOCAL: Mapping[str, Any] = {"days": 7, "point_in_time_days": 7}
_KEEP_REMOTE: Mapping[str, Any] = {"daily": 30, "weekly": 12, "monthly": 12}


class RepositorySettings(Model):
    """A place that keeps backups: `file:///folder` or `s3://bucket/prefix`, the latter with an Airflow connection.

    A `primary` is written by the backups, a `replica` by the replication alone. `medium` and `offsite` are for the
    3-2-1 rule; without them a folder is on `disk` here and a bucket is `object-storage` elsewhere. `storage_class` is
    that of the objects of a set, `long_term_storage_class` and `object_lock` those of monthly sets.
    `delete_connection` is the one that may delete, when `connection` may not; `keep` is what its retention keeps.
    """

    name: SafeName
    root: str
    connection: Text | None = Field(default=None, validate_default=True)
    role: Literal["primary", "replica"] = "primary"
    medium: SafeName | None = None
    offsite: bool | None = None
    storage_class: Text | None = None
    long_term_storage_class: Text | None = None
    object_lock: ObjectLockSettings | None = None
    delete_connection: Text | None = None
    keep: KeepSettings = Field(default={}, validate_default=True)

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

    @field_validator("storage_class", "long_term_storage_class")
    @classmethod
    def _can_be_read_at_once(cls, value: str | None) -> str | None:
        if value in _FROZEN:
            raise ValueError(
                f"is {value}, whose objects have to be thawed for hours, so that a backup could be neither read back "
                "nor restored in time: take GLACIER_IR, STANDARD_IA or another that needs no thaw"
            )
        if value is not None and not _STORAGE_CLASS.fullmatch(value):
            raise ValueError(f"is {value!r}, no storage class: write it as S3 does, such as STANDARD_IA or GLACIER_IR")
        return value

    @field_validator("storage_class", "long_term_storage_class", "object_lock")
    @classmethod
    def _is_of_a_bucket(cls, value: Value, info: ValidationInfo) -> Value:
        if value is not None and str(info.data.get("root", "")).startswith("file://"):
            raise ValueError("is set for a folder: remove it, only buckets have that")
        return value

    @field_validator("delete_connection")
    @classmethod
    def _deletes_in_a_bucket(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and str(info.data.get("root", "")).startswith("file://"):
            raise ValueError("is set for a folder: remove it, a folder needs no connection")
        return value

    @field_validator("keep", mode="before")
    @classmethod
    def _over_the_default_of_its_kind(cls, value: Any, info: ValidationInfo) -> Any:
        local = str(info.data.get("root", "")).startswith("file://")
        return {**(_KEEP_LOCAL if local else _KEEP_REMOTE), **value} if isinstance(value, Mapping) else value

    @property
    def is_local(self) -> bool:
        """Whether it is a folder."""
        return self.root.startswith("file://")

    @property
    def is_replica(self) -> bool:
        """Whether only the replication writes to it."""
        return self.role == "replica"

    @property
    def kept_on(self) -> str:
        """The medium, for the 3-2-1 rule."""
        return self.medium or ("disk" if self.is_local else "object-storage")

    @property
    def is_offsite(self) -> bool:
        """Whether it survives the loss of the place where the server is."""
        return not self.is_local if self.offsite is None else self.offsite


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
    """Where messages go; `connection` null is nowhere.

    With a bot's connection (Slack API) they go to `channel` and use threads; a webhook has a channel of its own.
    `repeat_hours`: a failure that goes on is shown in the channel again after so long. `runbook` is the address of the
    page that messages link to, in the site's language.
    """

    connection: Text | None = "spoqplus_slack"
    channel: Annotated[str, Field(pattern=r"^(#[^\s#]+|[CG][A-Z0-9]+)$")] | None = None
    repeat_hours: float = Field(default=6, gt=0)
    runbook: str | None = Field(default=None, pattern=r"^https?://[^\s#]+$")


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


class Ownership(Model):
    """Whose the files of a restored component are, and the modes of its folders and files, in octal digits."""

    owner: Text = "www-data"
    group: Text = "www-data"
    folders: str = Field(default="755", pattern=r"^[0-7]{3,4}$")
    files: str = Field(default="644", pattern=r"^[0-7]{3,4}$")


class RestoreSettings(Model):
    """How a backup is brought back. `connections` 0 is one more than cores, four at most.

    `queue` is that of a worker that has the private keys; None is the backup host's.

    `rebuild` says for `production` and `test` how their servers are rebuilt; one that is missing can't be.
    `server_directory` is the folder of the server's programs (None: PATH), for single tables at a point in time.

    `files_root` is where the environment `test` gets files (None: a folder of the staging area). `ownership` says for a
    component whose its files are; without an entry, or with null, they are as they were archived. `outside_links` are
    links that would lead out of another root than `/`. `keep_replaced` leaves what was replaced beside it.
    """

    queue: Text | None = None
    test_connection: Text = "spoqplus_test_mysql"
    connections: int = Field(default=0, ge=0, le=64)
    approval_hours: float = Field(default=1, gt=0)
    binary_log: bool = False
    rebuild: dict[Literal["production", "test"], RebuildSettings] = {}
    server_directory: FilePath | None = None
    files_root: FilePath | None = None
    ownership: dict[str, Ownership | None] = {"uploads": Ownership()}
    outside_links: Literal["refuse", "skip"] = "refuse"
    keep_replaced: bool = False

    def rebuild_of(self, environment: str) -> RebuildSettings | None:
        """How the server of an environment is rebuilt; None when the file does not say."""
        return next((how for name, how in self.rebuild.items() if name == environment), None)


class FingerprintSettings(Model):
    """How production is read for a recovery test: `load` is the share of the time, `hours` the most it may take."""

    load: float = Field(default=0.5, gt=0, le=1)
    hours: float = Field(default=2, gt=0, le=11)  # a task ends after 12


class FaceCheckSettings(Model):
    """What the check of face data reads: `query` gives id, member, encoding (JSON, or packed floats) and image path.

    `images` is the component that holds the images; None: their existence is not looked at. Paths that the query gives
    are relative to that component's folder.
    """

    query: Text = "SELECT id, member_id, encoding, image_path FROM spoqplus.member_faces WHERE is_active = 1"
    dimensions: int = Field(default=128, ge=1, le=4096)
    images: Text | None = "face_images"


class RecoveryTestSettings(Model):
    """The recovery test.

    `queue` is that of a worker that has the private keys; the logs are archived by the backup host all the same.
    `connection` is a server that is kept for it and emptied by it; without one a private server is started on the
    worker, with `memory_mib` of buffer pool. `checks` are folders of YAML files, relative to the configuration file.
    `mask` names columns (`database.table.column`) that are overwritten before checks that need no real names.
    `sample` is how many uploads are opened. `oldest_every` is in how many tests one also restores the oldest monthly
    set.
    """

    queue: Text | None = None
    connection: Text | None = None
    memory_mib: int = Field(default=512, ge=64)
    checks: tuple[FilePath, ...] = ()
    fingerprint: FingerprintSettings = FingerprintSettings()
    faces: FaceCheckSettings | None = FaceCheckSettings()
    uploads: Text | None = "uploads"
    sample: int = Field(default=50, ge=1)
    mask: tuple[Annotated[str, Field(pattern=r"^[^.]+\.[^.]+\.[^.]+$")], ...] = ()
    oldest_every: int = Field(default=3, ge=1)


class RetentionSettings(Model):
    """What retention never does, whatever the repositories' `keep` says.

    `minimum_age_hours`: no set or log younger than this goes. `unfinished_hours`: a set without a manifest, a broken
    upload, and the staging of a failed run stay so long. `maximum_share`: of the full backups, the incremental sets,
    the logs or the face images of a repository, more than this goes in one run only when a person approves, within
    `approval_hours`.
    """

    minimum_age_hours: float = Field(default=24, ge=1)
    unfinished_hours: float = Field(default=48, ge=1)
    maximum_share: float = Field(default=0.3, gt=0, le=1)
    approval_hours: float = Field(default=12, gt=0, le=24 * 7)


class Objectives(Model):
    """What was promised; messages and plans are measured against it."""

    rto_hours: float = Field(default=4, gt=0)
    rpo_hours: float = Field(default=1, gt=0)


class Alerts(Model):
    """When a result that is formally good deserves a warning, and when silence does.

    `maximum_age_hours`: the newest full backup is older. `late_hours`: a set is missing so long after its time.
    `shrunk_to`, `grown_to`: a component is smaller, or larger, than such a multiple of what it usually is.
    `expiry_days`: a key or certificate ends so soon.
    """

    minimum_backup_bytes: int = Field(default=1 << 30, ge=0)
    maximum_age_hours: float = Field(default=24, gt=0)
    late_hours: float = Field(default=6, gt=0)
    shrunk_to: float = Field(default=0.5, ge=0, lt=1)
    grown_to: float = Field(default=2, gt=1)
    expiry_days: int = Field(default=30, ge=1)


class MetricsSettings(Model):
    """Who may read `/spoqplus/metrics`, and how fresh it is.

    The token is the password of `connection`, or what stands in `token_file`. `refresh_seconds` is how old the facts
    may get before they are looked up anew, behind the back of whoever asks.
    """

    connection: Text | None = "spoqplus_metrics"
    token_file: FilePath | None = None
    refresh_seconds: int = Field(default=300, ge=10)


class AirflowSettings(Model):
    """How the DAGs sit in Airflow: the queue of the backup host, the owner, and the UI's address for links.

    `executor` is the alias of the one that serves this queue, where Airflow has several; None is its first.

    `pool` is Airflow's pool of the tasks that dump: its slots are how many may read the server at once. Sites on one
    server share a pool; None is one of the site's own, `<site>_database`.
    """

    queue: Text = "default"
    executor: Text | None = None
    pool: Text | None = None
    owner: Text = "data-platform"
    url: str | None = Field(default=None, pattern=r"^https?://")


_COMPONENTS = (
    TableSelection(name="critical_tables", tables=("spoqplus.member_faces", "spoqplus.face_recognition_logs")),
    TableSelection(name="face_encodings", tables=("spoqplus.member_faces",), where="is_active=1"),
)
_FILES = (
    FilesSelection(name="uploads", paths=(Path("/var/www/html/public/uploads"),)),
    FilesSelection(name="logs", paths=(Path("/var/www/html/writable/logs"),)),
    FilesSelection(
        name="config",
        paths=(Path("/var/www/html/.env"), Path("/var/www/html/app/Config"), Path("/etc/nginx/sites-available")),
        level="full",
        missing="warn",
    ),
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
    files: tuple[FilesSelection, ...] = _FILES
    faces: FacesSettings | None = FacesSettings()
    mirror: MirrorSettings | None = MirrorSettings()
    config_git: ConfigGitSettings | None = None
    environment: EnvironmentSettings | None = EnvironmentSettings()
    staging: StagingSettings = StagingSettings()
    repositories: tuple[RepositorySettings, ...] = _REPOSITORIES
    compression: CompressionSettings = CompressionSettings()
    encryption: EncryptionSettings = Field(default={}, validate_default=True)
    signing: SigningSettings = Field(default={}, validate_default=True)
    slack: SlackSettings = SlackSettings()
    restore: RestoreSettings = RestoreSettings()
    retention: RetentionSettings = RetentionSettings()
    recovery_test: RecoveryTestSettings = RecoveryTestSettings()
    dr: DrSettings | None = None
    objectives: Objectives = Objectives()
    alerts: Alerts = Alerts()
    metrics: MetricsSettings = MetricsSettings()
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

    @field_validator("files")
    @classmethod
    def _file_names_differ(cls, value: tuple[FilesSelection, ...], info: ValidationInfo) -> tuple[FilesSelection, ...]:
        of_tables = [item.name for item in info.data.get("components", ())]
        _unique([*of_tables, *(item.name for item in value)], "components")
        return value

    @field_validator("repositories")
    @classmethod
    def _repositories_differ(cls, value: tuple[RepositorySettings, ...]) -> tuple[RepositorySettings, ...]:
        if not value:
            raise ValueError("is empty: name at least one repository with a name and a root")
        _unique([item.name for item in value], "repositories")
        if len({item.root for item in value}) < len(value):
            raise ValueError("has two repositories with one and the same root: one copy is no second copy, change one")
        if all(item.is_replica for item in value):
            raise ValueError("has replicas only: backups are written to a repository with `role: primary`, add one")
        return value

    @property
    def primaries(self) -> tuple[RepositorySettings, ...]:
        """The repositories that backups are written to, in the file's order."""
        return tuple(item for item in self.repositories if not item.is_replica)

    @property
    def replicas(self) -> tuple[RepositorySettings, ...]:
        """The repositories that the replication fills."""
        return tuple(item for item in self.repositories if item.is_replica)

    @property
    def database_pool(self) -> str:
        """Airflow's pool of the tasks that dump."""
        return self.airflow.pool or f"{self.site}_database"

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
        settings = Settings.model_validate(
            read_yaml(path, VARIABLE, "include/config/spoqplus.yaml"), context={"folder": path.parent.absolute()}
        )
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_input=False)
        more = f" ({len(others)} more after this one)" if others else ""
        raise SettingsError(
            f"{path}: {complaint(first, Settings)}{more}."
        ) from None  # the cause would show what was typed
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
            for shared in _collisions(settings, other):
                raise SettingsError(f"{settings.source}: {shared} in {other.source} too: change one of the two.")
        sites.append(settings)
    return sites


def _collisions(settings: Settings, other: Settings) -> Iterator[str]:
    if settings.site == other.site:
        yield f"`site` is {settings.site}"
    for repository in settings.repositories:
        if repository.root in {item.root for item in other.repositories}:
            yield f"`repositories` has the root {repository.root}"
    mine, theirs = settings.mirror, other.mirror
    if mine and theirs and mine.target == theirs.target and mine.source != theirs.source:
        yield f"`mirror.target` is {mine.target}"


def check_settings(
    settings: Settings,
    connections: Connections,
    *,
    restoring: bool = False,
    components: Sequence[str] | None = None,
    replicas: bool = True,
) -> list[str]:
    """What is wrong with the configuration on this machine, a sentence each: paths, keys, connections.

    Args:
        settings: the site.
        connections: where its credentials are.
        restoring: look at what only a restore needs, such as private keys of age, and not at files to back up.
        components: which of them are backed up; all when None.
        replicas: also look at what only the replication needs: no backup fails because of it.
    """
    from spoqplus_backup.core.settings_check import problems  # loads cryptography, which no DAG file needs

    return list(problems(settings, connections, restoring=restoring, components=components, replicas=replicas))


def check_beside(settings: Settings, connections: Connections) -> list[str]:
    """As `check_settings`, of what works beside a backup without holding it up: the mirror and the git copy."""
    from spoqplus_backup.core.settings_check import problems_beside

    return list(problems_beside(settings, connections))


def check_dr(settings: Settings, connections: Connections) -> list[str]:
    """As `check_settings`, of what a failover to the DR region needs."""
    from spoqplus_backup.core.settings_check import problems_dr

    return list(problems_dr(settings, connections))
