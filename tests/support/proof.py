"""What a check of a recovery test works with, without a whole test around it."""

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from spoqplus_backup.core.connections import Connections, DatabaseLogin
from spoqplus_backup.core.mysql import server
from spoqplus_backup.core.mysql.fingerprint import Fingerprint, Pace, Place, take
from spoqplus_backup.core.mysql.row_hash import SESSION
from spoqplus_backup.core.proof.definitions import load_checks
from spoqplus_backup.core.proof.measure import measure
from spoqplus_backup.core.proof.model import CheckResult
from spoqplus_backup.core.proof.run import run_check
from spoqplus_backup.core.proof.scene import Scene
from spoqplus_backup.core.recovery.files.plan import PlannedFiles
from spoqplus_backup.core.recovery.plan import RestorePlan
from spoqplus_backup.core.recovery.request import RestoreRequest
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.messages import notice_text
from support.connections import FixedConnections

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
NOWHERE = DatabaseLogin(host=None, user="root", password="", socket="/no/such.sock")
NOTHING = Fingerprint(
    flavour="mariadb",
    version="10.11",
    place=Place(log="bin.000001", position=4, gtid=None, at=NOW),
    tables=(),
    definitions={},
    seconds=0,
)


def planned_folder(name: str, root: Path, top: str) -> PlannedFiles:
    """A component of files as a plan has it, when it lies there already."""
    return PlannedFiles(
        name=name, content="objects", root=str(root), tops=(top,), archives=(), files=0, bytes=0, stream_bytes=0,
        fetch_bytes=0, seconds=0,
    )  # fmt: skip


def bare_plan(files: tuple[PlannedFiles, ...] = (), server: str = "mariadb 10.11") -> RestorePlan:
    """A plan that says where the restored files lie, and no more."""
    return RestorePlan(
        run_id="test/recovery", request=RestoreRequest(), made_at=NOW, site="spoqplus", backup="daily/20260101_000001",
        backup_finished_at=NOW, backup_server=server, manifest_sha256="0" * 64, repository="local", target="sandbox",
        connection="none", components=(), overwrites=(), objects=0, seconds=0, rto_seconds=14400, files=files,
    )  # fmt: skip


def make_scene(
    directory: Path,
    settings: Settings,
    login: DatabaseLogin = NOWHERE,
    plan: RestorePlan | None = None,
    connections: Connections | None = None,
    files_root: Path | None = None,
    fingerprint: Fingerprint = NOTHING,
    measured: dict[str, object] | None = None,
) -> Scene:
    """The scene of a test in a folder of its own."""
    work = directory / "proof"
    work.mkdir(exist_ok=True)
    return Scene(
        settings=settings,
        connections=connections or FixedConnections(),
        login=login,
        directory=work,
        fingerprint=fingerprint,
        fingerprint_directory=work / "fingerprint",
        files_root=files_root,
        plan=plan or bare_plan(),
        measured=measured or {},
    )


def as_production(directory: Path, settings: Settings, login: DatabaseLogin, **fields: Any) -> Scene:
    """A scene whose restored server is production as it is now."""
    scene = make_scene(directory, settings, login, **fields)
    found = take(login, scene.fingerprint_directory, (), Pace(), lambda *_: None, lock_ddl=False)
    with server.connect(login) as connection:
        for statement in SESSION:
            connection.rows(statement)
        measured = json.loads(json.dumps(measure(connection, load_checks(settings))))
    return make_scene(directory, settings, login, fingerprint=found, measured=measured, **fields)


def said(result: CheckResult) -> str:
    """All that a check said; each sentence has its Korean form, with the same values."""
    for item in result.evidence:
        korean = notice_text("ko", item.model_dump())
        assert any("가" <= letter <= "힣" for letter in korean), item.code
    return "\n".join(item.words for item in result.evidence)


def passes(name: str, scene: Scene) -> str:
    """What a check that has to pass said."""
    result = run_check(name, scene)
    assert result.verdict == "passed", f"{name}: {said(result)}"
    return said(result)


def fails(name: str, scene: Scene) -> str:
    """What a check that has to fail said."""
    result = run_check(name, scene)
    assert result.verdict == "failed", f"{name}: {said(result)}"
    return said(result)
