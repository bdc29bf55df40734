"""What the demonstration proves, and how: by comparing databases and by the programs of a plain shell."""

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import MySQLdb

import demo_files
from compare import Snapshot, snapshot
from demo_files import Trees
from demo_terminal import Terminal, shown
from demo_world import DATABASE, DemoError, World
from spoqplus_backup.core.manifest import MANIFEST, SIGNATURE, Manifest
from spoqplus_backup.core.mysql.sandbox import SandboxServer

DAMAGE = (
    "DROP TABLE payments",
    "UPDATE members SET name = REVERSE(name), phone = '010-0000-0000' WHERE id % 3 = 0",
    "DELETE FROM face_recognition_logs WHERE id % 10 = 0",
    "UPDATE member_faces SET encoding = '[]', is_active = 0 WHERE id % 5 = 0",
    "DROP VIEW active_members",
    "DROP PROCEDURE expire_memberships",
)


@dataclass(frozen=True)
class Proof:
    """Something that the demonstration claims, and whether it was so."""

    text: str
    good: bool


# ---- the databases ----


def observe(server: SandboxServer) -> Snapshot:
    """Everything that the data set's database holds."""
    connection = server.connect()
    try:
        return snapshot(connection, [DATABASE], accounts=True)
    finally:
        connection.close()


def count_rows(found: Snapshot) -> int:
    """Rows of all tables."""
    return sum(int(table["rows"]["count"]) for table in found["table"].values())


def count_others(found: Snapshot) -> int:
    """Views, triggers, routines and events."""
    return sum(len(found[kind]) for kind in ("view", "trigger", "routine", "event"))


def damage(world: World, terminal: Terminal) -> None:
    """Do to production's database and files what nobody wants to see.

    Raises:
        DemoError: the server refused.
    """
    for command in demo_files.DAMAGE:
        terminal.line(f"$ {command}")
    demo_files.damage(world.www)
    connection = world.production.connect(database=DATABASE)
    try:
        with connection.cursor() as cursor:
            for statement in DAMAGE:
                terminal.line(f"{statement};")
                cursor.execute(statement)
    except MySQLdb.Error as error:
        raise DemoError(terminal.text("damage.refused", error=error)) from error
    finally:
        connection.close()


def changed(before: Snapshot, after: Snapshot) -> list[tuple[str, str]]:
    """Kind and name of everything that is not what it was."""
    return [
        (kind, name)
        for kind in before
        for name in sorted(before[kind].keys() | after[kind].keys())
        if before[kind].get(name) != after[kind].get(name)
    ]


def comparison_rows(terminal: Terminal, before: Snapshot, damaged: Snapshot, after: Snapshot) -> list[list[str]]:
    """A row for each object: rows before, after the damage, after the restore, and whether all of it is the same."""
    gone = terminal.text("table.gone")

    def shown(found: Snapshot, kind: str, name: str) -> str:
        if name not in found[kind]:
            return gone
        if kind in ("table", "view"):
            rows = found[kind][name]["rows"]
            return f"{rows['count']:,}" if isinstance(rows, dict) else str(rows)
        return kind

    rows = []
    for kind in before:
        for name in sorted(before[kind].keys() | after[kind].keys()):
            same = before[kind].get(name) == after[kind].get(name)
            verdict = f"{terminal.mark(same)} {terminal.text('table.same' if same else 'table.changed')}"
            rows.append([name, *(shown(found, kind, name) for found in (before, damaged, after)), verdict])
    return rows


def file_rows(terminal: Terminal, before: Trees, damaged: Trees, after: Trees) -> list[list[str]]:
    """As `comparison_rows`, for each top of the files; of the damage, how many are still what they were."""
    rows = []
    for top, seen in before.items():
        left = len(seen) - demo_files.changed(seen, damaged[top])
        same = not demo_files.changed(seen, after[top])
        verdict = f"{terminal.mark(same)} {terminal.text('table.same' if same else 'table.changed')}"
        rows.append([top, f"{len(seen):,}", f"{left:,}", f"{len(after[top]):,}", verdict])
    return rows


# ---- the backup ----


def manifest_of(world: World, set_name: str) -> Manifest:
    """The manifest of a published set, out of the repository on disk."""
    path = world.local_root / set_name / MANIFEST
    return Manifest.from_json(path.read_bytes(), str(path))


def open_by_hand(world: World, terminal: Terminal, manifest: Manifest) -> list[Proof]:
    """Decrypt a part and verify the signature with nothing but age, zstd and openssl; prints the commands."""
    component = manifest.component("database")
    part = component.parts[0]
    folder = world.local_root / manifest.name
    identity, public = world.identity_file, world.settings.signing.public_key_files[0]
    sealed, opened = _quoted(folder / component.name / part.name), _quoted(world.directory / "by-hand.sql")
    digest = _shell(terminal, f"age -d -i {_quoted(identity)} {sealed} | zstd -d > {opened} && sha256sum {opened}")
    verdict = _shell(
        terminal,
        f"openssl pkeyutl -verify -pubin -inkey {_quoted(public)} -rawin"
        f" -in {_quoted(folder / MANIFEST)} -sigfile {_quoted(folder / SIGNATURE)}",
    )
    return [
        Proof(terminal.text("proof.part"), digest.split()[:1] == [part.raw_sha256]),
        Proof(terminal.text("proof.signature"), "Verified Successfully" in verdict),
    ]


def check_copies(world: World, terminal: Terminal, manifest: Manifest) -> Proof:
    """Every object of the set in every repository, by the command line that works without Airflow, too."""
    verdict = _shell(terminal, f"spoqplus-backup --config {_quoted(world.settings.source)} verify {manifest.name}")
    count = len(manifest.objects()) + sum(item.shared.count for item in manifest.components if item.shared is not None)
    good = verdict.count(f"{manifest.name}: good ({count} objects")
    text = terminal.text("proof.copies", count=count)
    return Proof(text, good == len(world.settings.repositories))


def _shell(terminal: Terminal, command: str) -> str:
    """Run a command line as a person would type it; what it printed, and nothing when it failed."""
    terminal.line(f"$ {command}")
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    terminal.block(ran.stdout)
    return ran.stdout if ran.returncode == 0 else ""


def _quoted(path: Path) -> str:
    return shlex.quote(shown(path))
