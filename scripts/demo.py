"""The demonstration: a small SPOQ Plus is backed up by a real Airflow, damaged, restored, and compared with before.

    make demo                 keeps everything running until Ctrl-C
    DEMO_EXIT=1 make demo     ends by itself; exit status 0 only if everything was proved

Environment: DEMO_LANGUAGE (en, ko), DEMO_MB (size of the data set, 200), DEMO_DIRECTORY (build/demo).
"""

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import cast

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
    megabytes = environment.get("DEMO_MB", "200")
    if not megabytes.isdecimal() or int(megabytes) < 1:
        raise DemoError(f"DEMO_MB is {megabytes!r}: set it to a number of megabytes such as 200.")
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
    before = _before(world, terminal, started)
    backup, backup_proofs = _back_up(world, terminal)
    terminal.step("step.damage")
    damage(world, terminal)
    damaged = observe(world.production)
    restore, restore_proofs = _restore(world, terminal)
    compared = _compare(world, terminal, before, damaged)
    terminal.step("step.by_hand")
    opened = open_by_hand(world, terminal, manifest_of(world, str(backup.result("publish")["set"])))
    return Result(backup, restore, (*backup_proofs, *restore_proofs, *compared, *opened))


def _before(world: World, terminal: Terminal, started: float) -> Snapshot:
    terminal.step("step.before")
    began = time.monotonic()
    before = observe(world.production)
    tables, others = len(before["table"]), count_others(before)
    seconds = time.monotonic() - began
    terminal.tell("before.held", tables=tables, rows=count_rows(before), others=others, seconds=seconds)
    world.airflow.wait_until_healthy()
    terminal.tell("world.airflow", url=world.airflow.url, seconds=time.monotonic() - started)
    return before


def _back_up(world: World, terminal: Terminal) -> tuple[Run, list[Proof]]:
    terminal.step("step.backup")
    world.airflow.wait_for_dag(DAILY_BACKUP, DAG_SECONDS)
    run = start_and_follow(world, terminal, DAILY_BACKUP, {}, lambda _: None)
    manifest = manifest_of(world, str(run.result("publish")["set"]))
    published = Proof(terminal.text("proof.backup", name=manifest.name), True)
    return run, [published, check_copies(world, terminal, manifest)]


def _restore(world: World, terminal: Terminal) -> tuple[Run, list[Proof]]:
    terminal.step("step.restore")
    world.airflow.wait_for_dag(RESTORE, DAG_SECONDS)

    def answer(run_id: str) -> None:
        time.sleep(READING_SECONDS)
        terminal.tell("plan")
        terminal.block(str(world.airflow.approval(RESTORE, run_id, APPROVE)["body"]))
        world.airflow.answer(RESTORE, run_id, APPROVE, "Approve", user=APPROVER)
        terminal.tell("approved", user=APPROVER)

    run = start_and_follow(world, terminal, RESTORE, {"environment": "production", "backup": "latest"}, answer)
    saved = str(run.result("safety_backup.publish").get("set", ""))
    answers = world.airflow.approval(RESTORE, run.run_id, APPROVE)
    approver = (answers["responded_by_user"] or {}).get("name")
    return run, [
        Proof(terminal.text("proof.safety", name=saved), bool(saved)),
        Proof(terminal.text("proof.restore", user=approver), approver == APPROVER),
    ]


def _compare(world: World, terminal: Terminal, before: Snapshot, damaged: Snapshot) -> list[Proof]:
    terminal.step("step.compare")
    after = observe(world.production)
    headings = [terminal.text(f"table.{name}") for name in ("object", "before", "damaged", "after", "content")]
    terminal.table(headings, comparison_rows(terminal, before, damaged, after), right=(1, 2, 3))
    harmed = len(changed(before, damaged))
    objects = sum(map(len, before.values()))
    return [
        Proof(terminal.text("proof.damage", count=harmed), harmed > 0),
        Proof(terminal.text("proof.identical", count=objects), not changed(before, after)),
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
