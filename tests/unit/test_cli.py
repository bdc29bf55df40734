"""The command line on two folders that hold backups: what it prints and how it exits."""

import hashlib
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from spoqplus_backup.cli import main
from spoqplus_backup.core.crypto import sign
from spoqplus_backup.core.manifest import (
    MANIFEST,
    SIGNATURE,
    Component,
    Compression,
    Coordinates,
    Encryption,
    Manifest,
    ObjectCounts,
    Part,
    Previous,
    Server,
)
from spoqplus_backup.core.repository.local import LocalRepository
from spoqplus_backup.list_text import width
from support.keys import SigningPair, age_pair, signing_pair
from support.site_file import WITHOUT_FILES

OLD, NEW = "daily/20250101_030000", "daily/20250102_030000"
PART = f"{NEW}/database/000001.sql.zst.age"


class World(NamedTuple):
    """A site's file, its keys, its two repositories."""

    config: Path
    signing: SigningPair
    repositories: list[LocalRepository]


def part(name: str) -> Part:
    content = name.encode()
    digest = hashlib.sha256(content).hexdigest()
    return Part(name=name, raw_bytes=100, raw_sha256="0" * 64, stored_bytes=len(content), sha256=digest)


def publish(world: World, name: str, previous: Previous | None = None) -> Manifest:
    """A set whose objects hold their own names."""
    cadence, _, set_id = name.partition("/")
    moment = datetime(2025, 1, 1, 18, tzinfo=timezone.utc)
    component = Component(
        name="database",
        kind="logical",
        content="dump",
        index=part("index.json.zst.age"),
        parts=(part("000001.sql.zst.age"), part("000002.sql.zst.age")),
        started_at=moment,
        finished_at=moment,
        counts=ObjectCounts(databases=1, tables=7),
        rows=12345,
    )
    manifest = Manifest(
        site="spoqplus",
        cadence=cadence,
        id=set_id,
        run_id="test/run",
        started_at=moment,
        finished_at=moment,
        server=Server(
            flavour="mariadb", version="10.11.6", id=1, coordinates=Coordinates(file="bin.000001", position=4)
        ),
        tools={"mysqldump": "mariadb 10.11.6"},
        compression=Compression(level=3),
        encryption=Encryption(scheme="age", recipients=("age1example",)),
        components=(component,),
        previous=previous,
        warnings=("The server has sync_binlog=0.",),
    )
    for repository in world.repositories:
        for key, stored in manifest.objects().items():
            repository.put_bytes(f"{name}/{key}", stored.name.encode())
        repository.put_bytes(f"{name}/{SIGNATURE}", sign(manifest.to_json(), world.signing.private))
        repository.put_bytes(f"{name}/{MANIFEST}", manifest.to_json())
    return manifest


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    signing = signing_pair(tmp_path)
    repositories = [LocalRepository(name, tmp_path / name) for name in ("here", "there")]
    content = {
        "repositories": [{"name": item.name, "root": item.url} for item in repositories],
        "encryption": {"recipients": [age_pair(tmp_path).recipient]},
        "signing": {"private_key_file": "signing.key", "public_key_files": ["signing.pub"]},
        "staging": {"directory": "staging"},
        "slack": {"connection": None},
        **WITHOUT_FILES,
    }
    config = tmp_path / "spoqplus.yaml"
    config.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("SPOQPLUS_BACKUP_CONFIG", str(config))
    monkeypatch.setenv("AIRFLOW_CONN_SPOQPLUS_MYSQL", "mysql://backup:secret-password@127.0.0.1:1")
    world = World(config, signing, repositories)
    old = publish(world, OLD)
    publish(world, NEW, Previous(id=old.id, sha256=hashlib.sha256(old.to_json()).hexdigest()))
    return world


def test_check_config_of_a_good_site(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config"]) == 0
    assert capsys.readouterr().out == f"{world.config}: good\n"


def test_check_config_names_every_problem(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SPOQPLUS_MYSQL")
    world.signing.private.unlink()
    monkeypatch.setenv("SPOQPLUS_BACKUP_CONFIG", str(tmp_path))
    (tmp_path / "another.yaml").write_text("site: jamsil\n")

    assert main(["check-config", "--restore"]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("`")[2].partition("`")[0] for line in lines] == [
        "encryption.recipients",
        "signing.private_key_file",
        "database.connection",
        "restore.test_connection",
    ]
    assert [line.startswith(str(tmp_path / "another.yaml")) for line in lines] == [True, False, False, False]


def test_the_shipped_configuration_asks_for_recipients(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPOQPLUS_BACKUP_CONFIG", raising=False)

    assert main(["check-config"]) == 1
    assert "include/config/spoqplus.yaml: `encryption.recipients` names zero recipients" in capsys.readouterr().out


def in_english(world: World) -> None:
    world.config.write_text(world.config.read_text() + "language: en\n")


def test_list(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    in_english(world)
    assert main(["list"]) == 0

    header, *lines, total = capsys.readouterr().out.splitlines()
    assert header.split("  ")[0] == "BACKUP"
    assert [line.split()[0] for line in lines] == [OLD, NEW], "the newest is beside the prompt"
    assert lines[0][header.index("REPOSITORIES") :].startswith("here, there")
    assert lines[0][header.index("3-2-1") :].startswith("broken: 1 of 2 media, none off-site")
    assert total == "2 sets; the 3-2-1 rule holds for 0 (the live server counts as a copy, on disk)."

    assert main(["list", "--newest", "1"]) == 0
    assert OLD not in capsys.readouterr().out
    assert main(["list", "--repository", "there", "--cadence", "weekly"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [total.replace("2 sets", "0 sets")]


def test_list_with_details_remembers_them(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    in_english(world)
    assert main(["list"]) == 0
    assert "mariadb" not in capsys.readouterr().out

    for arguments in (["list", "--details"], ["list"]):
        assert main(arguments) == 0
        newest = capsys.readouterr().out.splitlines()[2]
        assert "54 B / 200 B" in newest
        assert "database  mariadb 10.11.6" in newest


def test_list_in_korean_has_straight_columns(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0

    header, *lines, _ = capsys.readouterr().out.splitlines()
    column = width(header[: header.index("3-2-1")])
    assert {width(line[: line.index("어김")]) for line in lines} == {column}
    assert "어김: 매체 1/2, 오프사이트 없음" in lines[0]


def test_list_as_json(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json", "--details"]) == 0

    old, new = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (old["set"], new["set"]) == (OLD, NEW)
    assert new["repositories"] == [
        {"repository": name, "medium": "disk", "offsite": False} for name in ("here", "there")
    ]
    assert (new["copies"], new["media"], new["offsite"], new["holds_3_2_1"]) == (3, ["disk"], [], False)
    assert new["details"]["stored_bytes"] == 54
    assert new["problem"] is None


def test_list_shows_a_forged_set_as_not_usable(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    in_english(world)
    world.repositories[0].put_bytes(f"{NEW}/{MANIFEST}", b"{}")

    assert main(["list"]) == 1, "its size differs from the other copy's"
    assert "    NOT USABLE: its manifests differ in size" in capsys.readouterr().out

    assert main(["list", "--details"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].startswith("    NOT USABLE: ")
    assert "is not signed by any key" in lines[3]


def test_list_goes_on_without_a_repository_that_can_not_be_listed(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load(world.config.read_text())
    content["repositories"].append({"name": "gone", "root": "s3://spoqplus-backup", "connection": "gone"})
    world.config.write_text(yaml.safe_dump(content))

    assert main(["list"]) == 1

    captured = capsys.readouterr()
    assert OLD in captured.out
    assert captured.err.startswith("gone: ")


def test_show(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "latest"]) == 0

    shown = capsys.readouterr().out
    for words in (
        NEW,
        "2025-01-02 03:00:00 KST",
        "bin.000001 4",
        "age age1example",
        "20250101_030000",
        "sync_binlog=0",
    ):
        assert words in shown
    assert "database: 2 parts, 54 B of 200 B, 12,345 rows; 1 databases, 7 tables" in shown


def test_show_as_json_is_the_manifest(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "20250101", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["id"] == "20250101_030000"


def test_verify_a_good_set_in_every_repository(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "latest", "--read"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        f"{name}: {NEW}: good (3 objects, 54 B)" for name in ("here", "there")
    ]


def test_verify_names_every_damaged_object(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    here, there = world.repositories
    here.put_bytes(PART, b"000001.sql.zst.agE")
    here.delete(f"{NEW}/database/000002.sql.zst.age")
    there.put_bytes(PART, b"short")

    assert main(["verify", NEW]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert f"here: {here.url}/{PART} has the SHA-256" in lines[0]
    assert "000002.sql.zst.age is not there" in lines[1]
    assert lines[2] == f"here: {NEW}: 2 problems (3 objects, 54 B)"
    assert "has 5 bytes, not 18" in lines[3]


@pytest.mark.parametrize(("lacking", "having"), [("here", "there"), ("there", "here")])
def test_verify_only_notes_that_a_repository_lacks_the_set_when_another_has_it(
    world: World, capsys: pytest.CaptureFixture[str], lacking: str, having: str
) -> None:
    repository = next(item for item in world.repositories if item.name == lacking)
    repository.delete(f"{NEW}/{MANIFEST}")  # as its retention does

    assert main(["verify", NEW]) == 0

    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        f"{having}: {NEW}: good (3 objects, 54 B)",
        f"{lacking}: note: {NEW} is not there; there is a good copy in {having}",
    ]
    assert captured.err == ""


def test_verify_fails_when_no_good_copy_is_left(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    here, there = world.repositories
    there.delete(f"{NEW}/{MANIFEST}")
    here.put_bytes(PART, b"short")
    assert main(["verify", NEW]) == 1
    assert f"there: note: {NEW} is not there; there is no good copy anywhere" in capsys.readouterr().out

    assert main(["verify", NEW, "--repository", "there"]) == 1
    assert f"there: There is no backup {NEW}" in capsys.readouterr().err

    here.delete(f"{NEW}/{MANIFEST}")
    assert main(["verify", NEW]) == 1
    captured = capsys.readouterr().err
    assert f"here: There is no backup {NEW}" in captured
    assert f"there: There is no backup {NEW}" in captured


def test_verify_fails_when_a_repository_can_not_be_believed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.repositories[1].put_bytes(f"{NEW}/{MANIFEST}", b"{}")
    assert main(["verify", NEW]) == 1
    assert "there: " in capsys.readouterr().err


def test_verify_follows_the_chain(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    here, there = world.repositories
    there.delete(f"{OLD}/{MANIFEST}")
    publish(World(world.config, world.signing, [here]), OLD, Previous(id="20241231_030000", sha256="0" * 64))

    assert main(["verify", NEW]) == 1

    out = capsys.readouterr().out
    assert f"here: {here.url}/{OLD} was replaced after {NEW} was written" in out
    assert f"there: note: {OLD}, the set before {NEW}, is no longer there" in out


def test_what_is_not_there(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "20240101"]) == 1
    assert "No repository has a usable backup 20240101" in capsys.readouterr().err

    assert main(["list", "--repository", "tape"]) == 1
    assert "has no repository named tape: name one of here, there" in capsys.readouterr().err

    assert main(["--site", "jamsil", "list"]) == 1
    assert "No configuration file describes the site jamsil" in capsys.readouterr().err


def test_a_wrong_call_shows_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["explode"])

    assert ended.value.code == 2
    assert "check-config" in capsys.readouterr().err


def test_no_secret_is_printed(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SPOQPLUS_TEST_MYSQL", "mysql://restore:secret-password@127.0.0.1:2")

    for arguments in (["check-config", "--restore"], ["--verbose", "restore"], ["list"]):
        main(arguments)

    captured = capsys.readouterr()
    assert "127.0.0.1:2" in captured.err
    assert "secret-password" not in captured.out + captured.err


def test_keys_generate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "keys"
    assert main(["keys", "generate", str(folder)]) == 1
    assert "make its folder" in capsys.readouterr().err
    folder.mkdir()

    assert main(["keys", "generate", str(folder)]) == 0

    shown = capsys.readouterr().out
    fields = yaml.safe_load(shown[shown.index("signing:") : shown.index("Keep a copy")])["signing"]
    assert fields == {
        "private_key_file": str(folder / "signing.key"),
        "public_key_files": [str(folder / "signing.pub")],
    }
    assert (folder / "signing.key").stat().st_mode & 0o777 == 0o600
    assert (folder / "signing.key").read_text().splitlines()[1] not in shown

    assert main(["keys", "generate", str(folder)]) == 1
    assert "exists already" in capsys.readouterr().err
