"""The demonstration: a small SPOQ Plus is backed up by a real Airflow, damaged, restored, and compared with before.

    make demo                 keeps everything running until Ctrl-C
    DEMO_EXIT=1 make demo     ends by itself; exit status 0 only if everything was proved

Environment: DEMO_LANGUAGE (en, ko), DEMO_MB (size of the data set, 150), DEMO_DIRECTORY (build/demo).
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import cast

import demo_files
from airflow_instance import PROJECT, AirflowError
from compare import Snapshot
from demo_proofs import (
    Proof,
    changed,
    check_copies,
    comparison_rows,
    count_others,
    count_rows,
    damage,
    file_rows,
    manifest_of,
    observe,
    open_by_hand,
)
from demo_runs import APPROVE, DAILY_BACKUP, RESTORE, Run, start_and_follow, summary_rows
from demo_terminal import Terminal, shown
from demo_world import ADMIN, APPROVER, DemoError, World, running
from slack_sink import readable
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.messages import Language

STEPS = 8
RESTORED = ("database", "face_images", "uploads", "config", "logs")
DAG_SECONDS = 60.0
# Airflow marks a task failed whose approval is answered before its scheduler noticed that it waits.
READING_SECONDS = 3.0


@dataclass(frozen=True)
class Options:
    """What the environment asks for."""

    language: Language
    megabytes: int
    folder: Path
    stays: bool


def options(environment: Mapping[str, str]) -> Options:
    """Read and check the environment.

    Raises:
        DemoError: a variable has a value that makes no sense.
    """
    language = environment.get("DEMO_LANGUAGE", "en")
    if language not in ("en", "ko"):
        raise DemoError(f"DEMO_LANGUAGE is {language!r}: set it to en or ko.")
    megabytes = environment.get("DEMO_MB", "150")
    if not megabytes.isdecimal() or int(megabytes) < 1:
        raise DemoError(f"DEMO_MB is {megabytes!r}: set it to a number of megabytes such as 150.")
    folder = Path(environment.get("DEMO_DIRECTORY", PROJECT / "build" / "demo")).absolute()
    return Options(cast("Language", language), int(megabytes), folder, stays=environment.get("DEMO_EXIT") != "1")


@dataclass(frozen=True)
class Result:
    """What a demonstration did and proved."""

    backup: Run
    restore: Run
    proofs: tuple[Proof, ...]

    @property
    def proved(self) -> bool:
        """Whether all of it was so."""
        return all(proof.good for proof in self.proofs)


def tell_story(world: World, terminal: Terminal, started: float) -> Result:
    """Back up, damage, restore, compare; prints each step.

    Raises:
        DemoError: a run failed.
    """
    with ThreadPoolExecutor(1) as beside:  # what takes the server some seconds is looked at meanwhile
        before = _before(world, terminal, started)
        backup, published = _back_up(world, terminal)
        terminal.step("step.damage")
        damage(world, terminal)
        damaged = beside.submit(Observed.of, world)  # the restore changes nothing before it is approved
        restore, restored = _restore(world, terminal, damaged.result)
        after = beside.submit(Observed.of, world)
        by_hand = _by_hand(world, terminal, str(backup.result("publish")["set"]))
        compared = _compare(terminal, before, damaged.result(), after.result)
    return Result(backup, restore, (*published, *restored, *by_hand, *compared))


@dataclass(frozen=True)
class Observed:
    """What production holds."""

    database: Snapshot
    files: demo_files.Trees

    @classmethod
    def of(cls, world: World) -> "Observed":
        """At this moment."""
        return cls(observe(world.production), demo_files.observe(world.www))


def _before(world: World, terminal: Terminal, started: float) -> Observed:
    terminal.step("step.before")
    began = time.monotonic()
    before = Observed.of(world)
    found = before.database
    terminal.tell(
        "before.held",
        tables=len(found["table"]),
        rows=count_rows(found),
        others=count_others(found),
        files=demo_files.count(before.files),
        seconds=time.monotonic() - began,
    )
    world.airflow.wait_until_healthy()
    terminal.tell("world.airflow", url=world.airflow.url, seconds=time.monotonic() - started)
    return before


def _back_up(world: World, terminal: Terminal) -> tuple[Run, list[Proof]]:
    terminal.step("step.backup")
    world.airflow.wait_for_dag(DAILY_BACKUP, DAG_SECONDS)
    run = start_and_follow(world, terminal, DAILY_BACKUP, {}, lambda _: None)
    return run, [Proof(terminal.text("proof.backup", name=run.result("publish")["set"]), True)]


def _restore(world: World, terminal: Terminal, look: Callable[[], object]) -> tuple[Run, list[Proof]]:
    terminal.step("step.restore")
    world.airflow.wait_for_dag(RESTORE, DAG_SECONDS)

    def answer(run_id: str) -> None:
        time.sleep(READING_SECONDS)
        look()
        terminal.tell("plan")
        terminal.block(str(world.airflow.approval(RESTORE, run_id, APPROVE)["body"]))
        world.airflow.answer(RESTORE, run_id, APPROVE, "Approve", user=APPROVER)
        terminal.tell("approved", user=APPROVER)

    everything = {"environment": "production", "backup": "latest", "components": list(RESTORED)}
    run = start_and_follow(world, terminal, RESTORE, everything, answer)
    saved = str(run.result("safety_backup.publish").get("set", ""))
    answers = world.airflow.approval(RESTORE, run.run_id, APPROVE)
    approver = (answers["responded_by_user"] or {}).get("name")
    return run, [
        Proof(terminal.text("proof.safety", name=saved), bool(saved)),
        Proof(terminal.text("proof.restore", user=approver), approver == APPROVER),
    ]


def _by_hand(world: World, terminal: Terminal, name: str) -> list[Proof]:
    terminal.step("step.by_hand")
    manifest = manifest_of(world, name)
    return [check_copies(world, terminal, manifest), *open_by_hand(world, terminal, manifest)]


def _compare(terminal: Terminal, before: Observed, damaged: Observed, look: Callable[[], Observed]) -> list[Proof]:
    terminal.step("step.compare")
    after = look()
    headings = [terminal.text(f"table.{name}") for name in ("object", "before", "damaged", "after", "content")]
    rows = comparison_rows(terminal, before.database, damaged.database, after.database)
    rows += file_rows(terminal, before.files, damaged.files, after.files)
    terminal.table(headings, rows, right=(1, 2, 3))
    harmed = len(changed(before.database, damaged.database))
    objects = sum(map(len, before.database.values()))
    harmed_files = sum(demo_files.changed(seen, damaged.files[top]) for top, seen in before.files.items())
    return [
        Proof(terminal.text("proof.damage", count=harmed, files=harmed_files), harmed > 0 and harmed_files > 0),
        Proof(terminal.text("proof.identical", count=objects), not changed(before.database, after.database)),
        Proof(terminal.text("proof.files", count=demo_files.count(before.files)), before.files == after.files),
    ]


def summarise(world: World, terminal: Terminal, result: Result, started: float) -> bool:
    """Print what was done and proved; returns whether all of it was."""
    terminal.step("step.summary")
    headings = [terminal.text(f"table.{name}") for name in ("what", "took", "size", "where")]
    for dag_id, run in ((DAILY_BACKUP, result.backup), (RESTORE, result.restore)):
        terminal.tell("summary.run", name=dag_id, seconds=run.seconds)
        terminal.table(headings, list(summary_rows(world, terminal, run)), right=(1, 2))
    terminal.tell("summary.slack")
    for message in world.slack.messages:
        terminal.block(readable(message))
    told = Proof(terminal.text("proof.slack"), len(world.slack.messages) >= 2)
    terminal.tell("summary.proofs")
    for proof in (*result.proofs, told):
        terminal.line(f"{terminal.mark(proof.good)} {proof.text}")
    proved = result.proved and told.good
    terminal.tell("summary.all" if proved else "summary.not_all", seconds=time.monotonic() - started)
    return proved


def stay(world: World, terminal: Terminal) -> None:
    """Say where to look, and keep everything running until a signal comes."""
    terminal.tell("summary.ui", url=world.airflow.url)
    for user in (ADMIN, APPROVER):
        role = terminal.text(f"summary.role.{user}")
        terminal.tell("summary.login", user=user, password=world.airflow.passwords[user], role=role)
    terminal.tell("summary.slack_page", url=world.slack.url)
    terminal.tell("summary.files", folder=shown(world.directory))
    terminal.tell("summary.running")
    while True:
        signal.pause()


def _interrupt(number: int, frame: FrameType | None) -> None:
    # once: what is being ended must not be interrupted by an impatient second Ctrl-C
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    raise KeyboardInterrupt


def own_environment() -> None:
    """Keep a proxy or an AWS profile of whoever starts this away from loopback servers, and find our own command."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        del os.environ[name]
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def main() -> int:
    """Run the demonstration; returns the exit status."""
    started = time.monotonic()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _interrupt)
    own_environment()
    proved = False
    terminal = Terminal("en", STEPS)
    try:
        wanted = options(os.environ)
        terminal = Terminal(wanted.language, STEPS)
        terminal.headline("title")
        terminal.step("step.world")
        with running(wanted.folder, wanted.language, wanted.megabytes, terminal.tell) as world:
            proved = summarise(world, terminal, tell_story(world, terminal, started), started)
            if proved and wanted.stays:
                stay(world, terminal)
        terminal.headline("ended")
    except KeyboardInterrupt:
        terminal.headline("ended" if proved else "interrupted")
    except (DemoError, AirflowError, BackupError) as error:
        terminal.headline("failed", reason=error)
    return 0 if proved else 1


if __name__ == "__main__":
    sys.exit(main())
