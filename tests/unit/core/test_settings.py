"""A wrong configuration is one sentence that names the file, the field and the remedy."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.core.recipients import is_recipient
from spoqplus_backup.core.settings import (
    DEFAULT_FOLDER,
    KeepSettings,
    Settings,
    check_beside,
    check_settings,
    load_settings,
    load_sites,
    settings_files,
)
from support.connections import FixedConnections
from support.keys import AgePair, SigningPair, age_pair, signing_pair
from support.site_file import WITHOUT_FILES

SHIPPED = DEFAULT_FOLDER / "spoqplus.yaml"


@pytest.fixture(scope="module")
def recipient(tmp_path_factory: pytest.TempPathFactory) -> str:
    return age_pair(tmp_path_factory.mktemp("keys")).recipient


@pytest.fixture
def minimal(recipient: str) -> dict[str, Any]:
    """What a file has to say at least."""
    return {"encryption": {"recipients": [recipient]}, "signing": {"public_key_files": ["signing.pub"]}}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, allow_unicode=True))
    return path


def complaint(tmp_path: Path, content: Any) -> str:
    """What loading says; it always begins with the file and is one line."""
    path = write(tmp_path / "club.yaml", content)
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert text.endswith(".")
    assert "\n" not in text
    return text


def test_defaults_are_the_strategys(tmp_path: Path, minimal: dict[str, Any]) -> None:
    settings = load_settings(write(tmp_path / "club.yaml", minimal))

    assert settings.schedules.daily_backup == "0 3 * * *"
    assert settings.timezone == "Asia/Seoul"
    assert [(item.name, item.tables, item.where) for item in settings.components] == [
        ("critical_tables", ("spoqplus.member_faces", "spoqplus.face_recognition_logs"), None),
        ("face_encodings", ("spoqplus.member_faces",), "is_active=1"),
    ]
    assert [(item.name, [str(path) for path in item.paths], item.exclude, item.level) for item in settings.files] == [
        ("uploads", ["/var/www/html/public/uploads"], ("*.tmp",), "incremental"),
        ("logs", ["/var/www/html/writable/logs"], ("*.tmp",), "incremental"),
        (
            "config",
            ["/var/www/html/.env", "/var/www/html/app/Config", "/etc/nginx/sites-available"],
            ("*.tmp",),
            "full",
        ),
    ]
    assert [item.root for item in settings.repositories] == ["file:///backup/spoqplus", "s3://spoqplus-backup"]
    assert settings.repositories[0].is_local
    assert not settings.repositories[1].is_local
    assert (settings.schedules.weekly_backup, settings.schedules.monthly_backup) == ("0 4 * * 0", "0 5 1 * *")
    assert [(item.kept_on, item.is_offsite) for item in settings.repositories] == [
        ("disk", False),
        ("object-storage", True),
    ]
    assert settings.replicas == ()
    assert settings.database_pool == "spoqplus_database"
    assert settings.compression.level == 3
    assert settings.objectives.rto_hours == 4
    assert settings.alerts.minimum_backup_bytes == 1 << 30
    assert settings.source == tmp_path / "club.yaml"


def test_the_shipped_file_says_the_defaults_and_lacks_only_recipients(minimal: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(SHIPPED)
    assert str(caught.value).startswith(f"{SHIPPED}: `encryption.recipients` names zero recipients")
    assert "age-keygen -o identity.txt" in str(caught.value)
    assert "more after this one" not in str(caught.value)

    shipped = yaml.safe_load(SHIPPED.read_text("utf-8"))
    defaults = load_settings(write(tmp_path / "club.yaml", minimal)).model_dump(mode="json")
    shipped["encryption"]["recipients"] = minimal["encryption"]["recipients"]
    defaults["signing"] = shipped["signing"]  # where keys lie is a site's own
    shipped["components"][0].setdefault("where", None)
    shipped["repositories"][0] = (
        dict.fromkeys(shipped["repositories"][1]) | {"role": "primary"} | shipped["repositories"][0]
    )
    for field in ("connection", "delete_connection"):
        shipped["repositories"][0].setdefault(field, None)
    for repository in shipped["repositories"]:
        repository["keep"] = KeepSettings(**repository["keep"]).model_dump()
    for number, selection in enumerate(defaults["files"]):
        shipped["files"][number] = selection | shipped["files"][number]  # what stands at the first holds for the others
    shipped["repositories"][0].setdefault("connection", None)
    assert shipped == defaults


def test_a_wrong_field_in_a_section_that_may_be_null_is_named(tmp_path: Path, minimal: dict[str, Any]) -> None:
    assert "`faces.encript` is an unknown field: write `encrypt`" in complaint(
        tmp_path, minimal | {"faces": {"encript": False}}
    )
    assert "`restore.rebuild.test.memory` is an unknown field: write `memory_mib`" in complaint(
        tmp_path, minimal | {"restore": {"rebuild": {"test": {"memory": 1}}}}
    )
    assert "`mirror.target` is /a/b, which lies in the source /a" in complaint(
        tmp_path, minimal | {"mirror": {"source": "/a", "target": "/a/b"}}
    )


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, minimal: dict[str, Any]) -> None:
    minimal |= {"staging": {"directory": "work"}, "database": {"client_directory": "/opt/mysql/bin"}}

    settings = load_settings(write(tmp_path / "club.yaml", minimal))

    assert settings.signing.public_key_files == (tmp_path / "signing.pub",)
    assert settings.staging.directory == tmp_path / "work"
    assert settings.database.client_directory == Path("/opt/mysql/bin")


def test_each_kind_of_repository_keeps_what_the_strategy_says_unless_told_otherwise(
    tmp_path: Path, minimal: dict[str, Any]
) -> None:
    bucket = {"root": "s3://bucket", "connection": "aws"}
    minimal["repositories"] = [
        {"name": "disk", "root": "file:///a"},
        {"name": "s3", **bucket},
        {"name": "dr", **bucket, "root": "s3://dr-bucket", "keep": {"daily": 60}, "delete_connection": "aws_pruner"},
        {"name": "archive", "root": "file:///b", "keep": {"forever": True}},
    ]

    disk, s3, dr, archive = load_settings(write(tmp_path / "club.yaml", minimal)).repositories

    assert (disk.keep.days, disk.keep.daily, disk.keep.point_in_time_days) == (7, 0, 7)
    assert (s3.keep.days, s3.keep.daily, s3.keep.weekly, s3.keep.monthly) == (None, 30, 12, 12)
    assert (dr.keep.daily, dr.keep.weekly, dr.delete_connection) == (60, 12, "aws_pruner")
    assert archive.keep.forever


WRONG = [
    ({"schedule": {}}, "`schedule` is an unknown field: write `schedules`"),
    (
        {"schedules": {"dayly_backup": "0 3 * * *"}},
        "`schedules.dayly_backup` is an unknown field: write `daily_backup`",
    ),
    ({"slack": {"hook": "x"}}, "`slack.hook` is an unknown field: remove it or use one of connection"),
    ({"slack": {"channel": "backup"}}, "`slack.channel` is wrong"),
    ({"slack": {"runbook": "docs/runbook.md"}}, "`slack.runbook` is wrong"),
    ({"source": "x"}, "`source` is an unknown field"),
    (
        {"repositories": [{"name": "a", "root": "file:///a", "conection": "x"}]},
        "`repositories[0].conection` is an unknown field: write `connection`",
    ),
    (
        {"repositories": [{"name": "a", "root": "file:///a", "role": "replica"}]},
        "`repositories` has replicas only: backups are written to a repository with `role: primary`, add one",
    ),
    (
        {
            "repositories": [
                {"name": "a", "root": "s3://bucket", "connection": "a", "long_term_storage_class": "GLACIER"}
            ]
        },
        "`repositories[0].long_term_storage_class` is GLACIER, whose objects have to be thawed for hours",
    ),
    (
        {"repositories": [{"name": "a", "root": "s3://bucket", "connection": "a", "storage_class": "cold"}]},
        "`repositories[0].storage_class` is 'cold', no storage class: write it as S3 does",
    ),
    (
        {"repositories": [{"name": "a", "root": "file:///a", "object_lock": {"mode": "governance", "days": 1}}]},
        "`repositories[0].object_lock` is set for a folder: remove it, only buckets have that",
    ),
    (
        {"schedules": {"daily_backup": "0 25 * * *"}},
        "`schedules.daily_backup` is not a cron expression that ever comes true ('0 25 * * *'): write five fields",
    ),
    (
        {"schedules": {"daily_backup": "0 0 31 2 *"}},
        "`schedules.daily_backup` is not a cron expression that ever comes true",
    ),
    ({"schedules": {"daily_backup": "* * * * * *"}}, "`schedules.daily_backup` is not a cron expression"),
    ({"schedules": {"daily_backup": ""}}, "`schedules.daily_backup` is not a cron expression"),
    ({"timezone": "Asia/Soul"}, "`timezone` is 'Asia/Soul': write a name of the time zone database such as Asia/Seoul"),
    ({"timezone": "/etc/passwd"}, "`timezone` is '/etc/passwd'"),
    ({"language": "fr"}, "`language` is wrong: input should be 'ko' or 'en'; correct the value"),
    ({"site": "my club"}, "`site` is wrong: string should match pattern"),
    ({"compression": {"level": 22}}, "`compression.level` is wrong: input should be less than or equal to 19"),
    ({"database": {"part_mib": 1}}, "`database.part_mib` is wrong: input should be greater than or equal to 16"),
    (
        {"components": [{"name": "database", "tables": ["a.b"]}]},
        "`components[0].name` is database, a name that the backup itself uses",
    ),
    ({"components": [{"name": "x", "tables": []}]}, "`components[0].tables` is empty: name at least one table"),
    (
        {"components": [{"name": "x", "tables": ["members"]}]},
        "`components[0].tables` has 'members', which is no table: write it as database.table",
    ),
    (
        {"components": [{"name": "x", "tables": ["a.b", "c.d"]}]},
        "`components[0].tables` has tables of several databases",
    ),
    ({"components": [{"name": "x"}]}, "`components[0].tables` is missing: add it"),
    ({"components": [{"name": "x", "tables": ["a.b"]}] * 2}, "`components` has two components named x"),
    ({"files": [{"name": "verify", "paths": ["/srv"]}]}, "`files[0].name` is verify, a name that the backup itself"),
    ({"files": [{"name": "x", "paths": ["srv/x"]}]}, "`files[0].paths` has 'srv/x': write absolute paths below /"),
    ({"files": [{"name": "x", "paths": ["/srv/../etc"]}]}, "`files[0].paths` has '/srv/../etc': write absolute paths"),
    ({"files": [{"name": "x", "paths": ["/"]}]}, "`files[0].paths` has '/': write absolute paths below /"),
    ({"files": [{"name": "x", "paths": []}]}, "`files[0].paths` is wrong: tuple should have at least 1 item"),
    ({"files": [{"name": "x", "paths": ["/a", "/a"]}]}, "`files[0].paths` names a path twice"),
    ({"files": [{"name": "x", "paths": ["/a"]}] * 2}, "`files` has two components named x"),
    (
        {"components": [{"name": "x", "tables": ["a.b"]}], "files": [{"name": "x", "paths": ["/a"]}]},
        "`files` has two components named x",
    ),
    ({"repositories": []}, "`repositories` is empty: name at least one"),
    (
        {"repositories": [{"name": "a", "root": "s3://bucket", "connection": "x", "keep": {"daily": 0}}]},
        "`repositories[0].keep` would keep no daily backups: set `days` or `daily`, or `forever: true`",
    ),
    (
        {"repositories": [{"name": "a", "root": "file:///a", "keep": {"weakly": 3}}]},
        "`repositories[0].keep.weakly` is an unknown field: write `weekly`",
    ),
    (
        {"repositories": [{"name": "a", "root": "file:///a", "delete_connection": "x"}]},
        "`repositories[0].delete_connection` is set for a folder: remove it",
    ),
    ({"retention": {"maximum_share": 0}}, "`retention.maximum_share` is wrong: input should be greater than 0"),
    (
        {"repositories": [{"name": "a", "root": "/backup"}]},
        "`repositories[0].root` is '/backup': write file:///an/absolute/folder or s3://bucket/prefix",
    ),
    ({"repositories": [{"name": "a", "root": "file://backup/x"}]}, "`repositories[0].root` is 'file://backup/x'"),
    ({"repositories": [{"name": "a", "root": "s3://b"}]}, "`repositories[0].root` is 's3://b'"),
    (
        {"repositories": [{"name": "a", "root": "s3://bucket"}]},
        "`repositories[0].connection` is missing: name the Airflow connection",
    ),
    (
        {"repositories": [{"name": "a", "root": "file:///a", "connection": "x"}]},
        "`repositories[0].connection` is set for a folder: remove it",
    ),
    (
        {"repositories": [{"name": "a", "root": "file:///a"}, {"name": "a", "root": "file:///b"}]},
        "`repositories` has two repositories named a",
    ),
    (
        {"repositories": [{"name": "a", "root": "file:///a"}, {"name": "b", "root": "file:///a/"}]},
        "`repositories` has two repositories with one and the same root",
    ),
    ({"signing": {}}, "`signing.public_key_files` names no file: make a pair with `spoqplus-backup keys generate`"),
    ({"signing": None}, "`signing` is wrong"),
    ({"encryption": {}}, "`encryption.recipients` names zero recipients"),
    ({"encryption": {"recipients": []}}, "`encryption.recipients` names zero recipients"),
    (
        {"encryption": {"recipients": ["backup@spoqplus.com"]}},
        "`encryption.recipients` holds no public key of age (number 1, 'backup@spoqp'...)",
    ),
]


@pytest.mark.parametrize(("fields", "expected"), WRONG, ids=lambda value: str(value)[:60])
def test_what_is_wrong_is_named_with_its_remedy(
    tmp_path: Path, minimal: dict[str, Any], fields: dict[str, Any], expected: str
) -> None:
    assert expected in complaint(tmp_path, minimal | fields)


def test_an_empty_file_lacks_recipients(tmp_path: Path) -> None:
    assert "`encryption.recipients` names zero recipients" in complaint(tmp_path, "")


def test_a_mistyped_recipient_is_found_by_its_checksum(tmp_path: Path, minimal: dict[str, Any], recipient: str) -> None:
    wrong = recipient[:20] + ("q" if recipient[20] != "q" else "p") + recipient[21:]
    minimal["encryption"]["recipients"] = [recipient, wrong]

    assert "`encryption.recipients` holds no public key of age (number 2" in complaint(tmp_path, minimal)
    assert is_recipient(recipient)
    for text in (wrong, recipient.upper(), recipient[:-1], "", "age1", "age1" + "q" * 58):
        assert not is_recipient(text)


def test_a_recipient_twice_is_one_key_too_few(tmp_path: Path, minimal: dict[str, Any], recipient: str) -> None:
    minimal["encryption"]["recipients"] = [recipient, recipient]

    assert "`encryption.recipients` names a recipient twice" in complaint(tmp_path, minimal)


def test_a_private_key_in_the_file_is_refused_and_not_repeated(tmp_path: Path, minimal: dict[str, Any]) -> None:
    private = age_pair(tmp_path).identity_file.read_text().split("\n")[2]
    assert private.startswith("AGE-SECRET-KEY-1")
    minimal["encryption"]["recipients"] = [private]

    text = complaint(tmp_path, minimal)

    assert "`encryption.recipients` holds a private key (number 1): put its public key here" in text
    assert private[15:] not in text


def test_openssl_needs_no_recipients(tmp_path: Path, minimal: dict[str, Any]) -> None:
    minimal["encryption"] = {"scheme": "openssl"}

    assert load_settings(write(tmp_path / "club.yaml", minimal)).encryption.recipients == ()


def test_what_is_no_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    assert "line 2 can't be read" in complaint(tmp_path, "site: a\n  timezone: b\n")
    assert "line 3 can't be read: the field site stands twice: remove one" in complaint(
        tmp_path, "site: a\ntimezone: Asia/Seoul\nsite: b\n"
    )
    assert "line 4 can't be read: the field level stands twice" in complaint(
        tmp_path, "compression:\n  level: 3\n  workers: 1\n  level: 4\n"
    )
    assert "holds no fields: write `field: value` lines" in complaint(tmp_path, "- site\n")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "club.yaml"
    path.write_bytes("site: 스포크".encode("euc-kr"))

    with pytest.raises(SettingsError, match=r"club\.yaml is not UTF-8 text.*save it as UTF-8"):
        load_settings(path)


def test_an_unreadable_file_is_named_with_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOQPLUS_BACKUP_CONFIG", str(tmp_path / "absent.yaml"))

    with pytest.raises(SettingsError, match=r"absent\.yaml can't be read \(No such file.*SPOQPLUS_BACKUP_CONFIG"):
        load_sites()


def test_every_file_of_a_folder_is_a_site(
    tmp_path: Path, minimal: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPOQPLUS_BACKUP_CONFIG", str(tmp_path))
    with pytest.raises(SettingsError, match=r"holds no \*\.yaml file"):
        load_sites()
    write(tmp_path / "notes.txt", "no configuration")
    for site in ("jamsil", "gangnam"):
        content = minimal | {"site": site, "repositories": [{"name": "local", "root": f"file:///{site}"}]}
        write(tmp_path / f"{site}.yaml", content)

    assert [settings.site for settings in load_sites()] == ["gangnam", "jamsil"]
    with pytest.raises(SettingsError, match=r"several configuration files .*say which one"):
        load_settings()

    monkeypatch.setenv("SPOQPLUS_BACKUP_CONFIG", str(tmp_path / "jamsil.yaml"))
    assert load_settings().site == "jamsil"


def test_two_files_must_not_be_one_site_or_share_a_repository(
    tmp_path: Path, minimal: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPOQPLUS_BACKUP_CONFIG", str(tmp_path))
    write(tmp_path / "a.yaml", minimal)
    write(tmp_path / "b.yaml", minimal)
    with pytest.raises(SettingsError, match=r"b\.yaml: `site` is spoqplus in .*a\.yaml too: change one"):
        load_sites()

    write(tmp_path / "b.yaml", minimal | {"site": "jamsil"})
    with pytest.raises(
        SettingsError, match=r"b\.yaml: `repositories` has the root file:///backup/spoqplus in .*a\.yaml"
    ):
        load_sites()


def test_without_the_variable_the_projects_own_folder_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPOQPLUS_BACKUP_CONFIG", raising=False)

    assert SHIPPED in settings_files()


def test_an_unknown_repository_is_named(tmp_path: Path, minimal: dict[str, Any]) -> None:
    settings = load_settings(write(tmp_path / "club.yaml", minimal))

    assert settings.repository("s3").connection == "spoqplus_aws"
    with pytest.raises(
        SettingsError, match=r"club\.yaml: `repositories` has no repository named tape: name one of local"
    ):
        settings.repository("tape")


class TestCheckSettings:
    """What only the machine at hand can say."""

    @pytest.fixture
    def pair(self, tmp_path: Path) -> SigningPair:
        return signing_pair(tmp_path)

    @pytest.fixture
    def age(self, tmp_path: Path) -> AgePair:
        return age_pair(tmp_path)

    @pytest.fixture
    def good(self, tmp_path: Path, pair: SigningPair, age: AgePair) -> dict[str, Any]:
        return {
            **WITHOUT_FILES,
            "encryption": {"recipients": [age.recipient], "identity_files": [str(age.identity_file)]},
            "signing": {"private_key_file": str(pair.private), "public_key_files": [str(pair.public)]},
            "staging": {"directory": str(tmp_path / "staging")},
            "files": [],
        }

    @staticmethod
    def problems(tmp_path: Path, content: dict[str, Any], *missing: str, restoring: bool = True) -> list[str]:
        settings: Settings = load_settings(write(tmp_path / "club.yaml", content))
        found = check_settings(settings, FixedConnections.of_a_site(without=missing), restoring=restoring)
        assert all(problem.startswith(f"{tmp_path / 'club.yaml'}: `") for problem in found)
        return found

    def test_nothing_is_wrong(self, tmp_path: Path, good: dict[str, Any]) -> None:
        assert self.problems(tmp_path, good) == []

    @pytest.mark.parametrize(
        ("connection", "field"),
        [
            ("spoqplus_mysql", "database.connection"),
            ("spoqplus_aws", "repositories[1].connection"),
            ("spoqplus_slack", "slack.connection"),
            ("spoqplus_test_mysql", "restore.test_connection"),
        ],
    )
    def test_an_unknown_connection(self, tmp_path: Path, good: dict[str, Any], connection: str, field: str) -> None:
        (problem,) = self.problems(tmp_path, good, connection)

        assert f"`{field}`: There is no connection {connection}" in problem
        assert f"airflow connections add {connection}" in problem

    @pytest.mark.parametrize(
        ("bots", "channel", "complaint"),
        [
            (["spoqplus_slack"], "#backup", None),
            (["spoqplus_slack"], None, "is a bot's: name the channel in `slack.channel`"),
            ([], None, None),
            ([], "#backup", "is a webhook, which has a channel of its own: set `slack.channel` to null"),
        ],
    )
    def test_a_bot_needs_a_channel_and_a_webhook_has_one(
        self, tmp_path: Path, good: dict[str, Any], bots: list[str], channel: str | None, complaint: str | None
    ) -> None:
        settings = load_settings(write(tmp_path / "club.yaml", good | {"slack": {"channel": channel}}))
        found = check_settings(settings, FixedConnections.of_a_site(bots=bots), restoring=True)
        assert len(found) == (complaint is not None)
        assert all(complaint in problem for problem in found if complaint)

    def test_the_password_of_openssl(self, tmp_path: Path, good: dict[str, Any]) -> None:
        good["encryption"] = {"scheme": "openssl"}
        assert self.problems(tmp_path, good) == []

        (problem,) = self.problems(tmp_path, good, "spoqplus_backup_password")
        assert "`encryption.password_connection`: There is no connection spoqplus_backup_password" in problem

    def test_a_backup_host_needs_nothing_of_a_restore(self, tmp_path: Path, good: dict[str, Any]) -> None:
        good["encryption"]["identity_files"] = ["absent.txt"]

        assert self.problems(tmp_path, good, "spoqplus_test_mysql", restoring=False) == []
        assert len(self.problems(tmp_path, good, "spoqplus_test_mysql")) == 2

    def test_unreadable_paths(self, tmp_path: Path, good: dict[str, Any]) -> None:
        (tmp_path / "file").write_text("")
        good["signing"]["public_key_files"] += ["old.pub"]
        good["encryption"]["identity_files"] = ["absent.txt"]
        good["database"] = {"client_directory": "/no/such/folder"}
        good["staging"] = {"directory": "file/staging"}

        client, staging, public, identity = self.problems(tmp_path, good)

        assert "`database.client_directory`: The folder /no/such/folder can't be read: correct the path" in client
        assert f"`staging.directory`: The folder {tmp_path}/file/staging can't be made or written to" in staging
        assert f"`signing.public_key_files[1]`: The key {tmp_path}/old.pub can't be read (No such file" in public
        assert f"`encryption.identity_files[0]`: {tmp_path}/absent.txt can't be read (No such file" in identity

    def test_files_that_are_no_keys(self, tmp_path: Path, good: dict[str, Any], pair: SigningPair) -> None:
        good["encryption"]["identity_files"] = [str(pair.public)]
        good["signing"]["private_key_file"] = str(pair.public)

        private, identity = self.problems(tmp_path, good)

        assert "`signing.private_key_file`" in private
        assert "is no private Ed25519 key in PEM: make one with `spoqplus-backup keys generate`" in private
        assert "is no identity file of age: make one with `age-keygen" in identity

    def test_a_private_key_without_its_public_half(self, tmp_path: Path, good: dict[str, Any]) -> None:
        good["signing"]["private_key_file"] = str(signing_pair(tmp_path, "other").private)

        (problem,) = self.problems(tmp_path, good)

        assert "`signing.private_key_file`: No key of `signing.public_key_files` belongs to" in problem

    def test_private_keys_that_others_may_read(
        self, tmp_path: Path, good: dict[str, Any], pair: SigningPair, age: AgePair
    ) -> None:
        for file in (pair.private, age.identity_file):
            file.chmod(0o644)

        for file, problem in zip((pair.private, age.identity_file), self.problems(tmp_path, good), strict=True):
            assert f"Others than its owner may read the private key {file}: chmod 600 {file}" in problem

    def test_files_that_are_not_there(self, tmp_path: Path, good: dict[str, Any]) -> None:
        (tmp_path / "uploads").mkdir()
        (tmp_path / "gone").symlink_to("nowhere")
        good["files"] = [
            {"name": "uploads", "paths": [f"{tmp_path}/uploads", f"{tmp_path}/gone"]},
            {"name": "config", "paths": [f"{tmp_path}/.env", f"{tmp_path}/uploads"], "missing": "warn"},
            {"name": "logs", "paths": [f"{tmp_path}/logs", f"{tmp_path}/old"], "missing": "warn"},
        ]

        gone, none = self.problems(tmp_path, good, restoring=False)

        assert f"`files[0].paths`: {tmp_path}/gone leads nowhere (it is a symbolic link): correct the path" in gone
        assert f"`files[2].paths`: none of {tmp_path}/logs, {tmp_path}/old is there" in none
        assert self.problems(tmp_path, good) == [], "a host that restores need not have them"

    def test_face_images_and_environment_that_are_not_there(self, tmp_path: Path, good: dict[str, Any]) -> None:
        good["faces"] = {"directory": "faces"}
        good["environment"] = {"files": ["nothing.env"]}
        assert [problem.partition("`: ")[2] for problem in self.problems(tmp_path, good, restoring=False)] == [
            f"The folder {tmp_path}/faces can't be read (No such file or directory): mount its disk, correct its "
            "permissions or the path in `faces`. Nothing was changed.",
            f"{tmp_path}/nothing.env can't be read (No such file or directory): correct `environment`, or let the user "
            "that Airflow runs as read it; a process has to be the same user's, or the worker root's.",
        ]
        (tmp_path / "faces").mkdir()
        (tmp_path / "faces" / "1.jpg").touch()
        (tmp_path / "nothing.env").touch()
        good["environment"] |= {"gpg_recipient": "backup@spoqplus.com", "gpg_public_key_file": "nothing.env"}
        (problem,) = self.problems(tmp_path, good, restoring=False)
        assert f"`environment.gpg_public_key_file`: {tmp_path}/nothing.env can't be used as a key" in problem

    def test_what_stands_beside_a_set_is_asked_apart(
        self, tmp_path: Path, good: dict[str, Any], pair: SigningPair
    ) -> None:
        pair.private.chmod(0o644)
        good["signing"]["private_key_file"] = None
        good["mirror"] = {"source": "uploads", "target": "backup/uploads"}
        good["config_git"] = {
            "remote": "git@example.com:config.git",
            "connection": "spoqplus_git",
            "ssh_key_file": str(pair.private),
            "known_hosts_file": "hosts",
        }
        assert self.problems(tmp_path, good, restoring=False) == []
        settings = load_settings(tmp_path / "club.yaml")
        found = check_beside(settings, FixedConnections.of_a_site())
        assert [problem.partition("`")[2].partition("`")[0] for problem in found] == [
            "mirror.source",
            "mirror.target",
            "config_git.connection",
            "config_git.ssh_key_file",
            "config_git.known_hosts_file",
        ]

    def test_backups_do_not_lie_in_what_is_backed_up(self, tmp_path: Path, good: dict[str, Any]) -> None:
        good["files"] = [{"name": "everything", "paths": [str(tmp_path)]}]

        (problem,) = self.problems(tmp_path, good, restoring=False)

        assert f"`files[0].paths`: {tmp_path} holds the backups' own folder {tmp_path}/staging" in problem
