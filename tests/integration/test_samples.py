"""Every format that was ever written is still listed, verified and really restored; a newer one says what to do."""

import json
from pathlib import Path

import pytest

from spoqplus_backup.cli import main
from spoqplus_backup.core.errors import NewerFormatError
from spoqplus_backup.core.manifest import FORMAT, BinlogSegment, Manifest
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from spoqplus_backup.core.proof.store import page_of, past_proofs
from spoqplus_backup.core.repository.opener import open_repository
from support.samples import SAMPLES, SOURCE, content, sample_site, schema, tree
from support.servers import accounts, empty

pytestmark = pytest.mark.integration

KEPT = sorted(path.parent for path in SAMPLES.glob("format-*/*/expected.json"))
FLAVOURS = {"mariadb", "mysql"}


def test_every_format_has_its_samples_and_today_s_is_what_is_written() -> None:
    for number in range(1, FORMAT + 1):
        assert {path.name for path in KEPT if path.parent.name == f"format-{number}"} == FLAVOURS
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) < 1 << 20
    kept = json.loads((SAMPLES / f"format-{FORMAT}" / "schema.json").read_text())
    assert schema() == kept, (
        "What a backup writes has changed: an older version would refuse it. Do as docs/upgrading.md says: raise "
        "FORMAT in core/manifest.py, keep reading the old one, and write its samples."
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("sample", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_kept_repository(
    sample: Path,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target: SandboxServer = request.getfixturevalue(f"{sample.name}_target")
    empty(target)
    site = sample_site(sample, tmp_path, target)
    site.export(monkeypatch)
    expected = json.loads((sample / "expected.json").read_text())

    assert main(["list", "--details", "--json"]) == 0
    listed = {item["set"]: item for item in map(json.loads, capsys.readouterr().out.splitlines())}
    assert {name.partition("/")[0] for name in listed} == {"weekly", "daily", "incremental"}
    assert listed[expected["weekly"]]["hold"].startswith("a sample")
    assert listed[expected["daily"]]["proved_at"]
    for name in listed:
        assert main(["verify", "--read", name]) == 0, capsys.readouterr().out
        assert main(["show", name]) == 0
    assert main(["windows"]) == 0
    repository = open_repository(site.settings, "kept", site.connections)
    (proof,) = past_proofs(repository, site.settings.signing.public_key_files, site="spoqplus")
    assert "<html" in page_of(repository, proof)

    # spoqplus_mysql is lost: on the machine that restores it is named, and nobody answers
    monkeypatch.setenv(
        "AIRFLOW_CONN_SPOQPLUS_MYSQL", '{"conn_type": "mysql", "host": "127.0.0.1", "port": 9, "login": "x"}'
    )
    capsys.readouterr()
    assert main(["restore", "--everything", "--to-time", "latest"]) == 0, capsys.readouterr().err
    assert content(target) == expected["content"]
    assert ("sample_reader", "%") in accounts(target.connect())
    restored = tree(tmp_path / "restored" / str(SOURCE)[1:])
    assert restored == expected["files"]
    environment = (tmp_path / "restored" / "spoqplus-environment.env").read_text()
    assert "DB_PASSWORD='sample'" in environment


@pytest.mark.parametrize("model", [Manifest, BinlogSegment])
def test_a_newer_format_says_what_to_do(model: type[Manifest] | type[BinlogSegment]) -> None:
    newer = json.dumps({"format_version": FORMAT + 1, "site": "spoqplus", "physical": True}).encode()
    words = rf"x\.json has the format {FORMAT + 1}, .* reads up to {FORMAT}\..*install the version that wrote it"
    with pytest.raises(NewerFormatError, match=words):
        model.from_json(newer, "x.json")
