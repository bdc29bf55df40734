"""A run in the demonstration: started through the API, followed task by task, summed up as a table."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_instance import RUN_ENDED, AirflowError
from demo_terminal import Terminal, log_tail, shown
from demo_world import BUCKET, SITE, DemoError, World
from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.core.run import component_names
from spoqplus_backup.messages import component_label, duration, text

DAILY_BACKUP, BINLOG_ARCHIVE, RESTORE = f"{SITE}_daily_backup", f"{SITE}_binlog_archive", f"{SITE}_restore"
APPROVE, NOTIFY, SAFETY_GROUP = "approve", "notify", "safety_backup"
RUN_SECONDS = 900.0
POLL_SECONDS = 0.7  # each look costs the API server some of a processor that the backup wants, too
FINISHED = frozenset({"success", "skipped", "failed", "upstream_failed", "removed"})
NAME_WIDTH = 34

Answer = Callable[[], None]


@dataclass(frozen=True)
class Stage:
    """A task that has ended, with what it left in XCom."""

    task_id: str
    state: str
    seconds: float
    ended: datetime | None
    result: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The task's own name, without its groups."""
        return self.task_id.rpartition(".")[2]


@dataclass(frozen=True)
class Run:
    """A run that succeeded."""

    run_id: str
    seconds: float
    stages: tuple[Stage, ...]

    def result(self, task_id: str) -> Mapping[str, Any]:
        """What a task left in XCom."""
        return next(stage.result for stage in self.stages if stage.task_id == task_id)


class Follower:
    """Follows one run and prints each task when it ends."""

    def __init__(self, world: World, terminal: Terminal, dag_id: str, run_id: str) -> None:
        self._world = world
        self._terminal = terminal
        self._dag_id = dag_id
        self._run_id = run_id
        self._stages: dict[str, Stage] = {}
        self._retries: set[tuple[str, int]] = set()

    def follow(self, answer: Answer) -> Run:
        """Wait for the run's end; `answer` is called once, when a person is asked to approve.

        Raises:
            DemoError: it failed, or took too long. The ends of the failed tasks' logs have been printed.
        """
        airflow, answered = self._world.airflow, False
        deadline = time.monotonic() + RUN_SECONDS
        while True:
            tasks = airflow.tasks(self._dag_id, self._run_id)
            self._tell_news(tasks)
            if not answered and tasks.get(APPROVE, {}).get("state") == "awaiting_input":
                answer()
                answered = True
            if all(task["state"] in FINISHED for task in tasks.values()):
                run = airflow.run(self._dag_id, self._run_id)
                if run["state"] in RUN_ENDED:
                    return self._ended(run, tasks)
            if time.monotonic() > deadline:
                states = {task_id: task["state"] for task_id, task in tasks.items()}
                raise DemoError(self._text("run.slow", seconds=RUN_SECONDS, states=states))
            time.sleep(POLL_SECONDS)

    def _text(self, key: str, **fields: object) -> str:
        return self._terminal.text(key, dag_id=self._dag_id, run_id=self._run_id, **fields)

    def _tell_news(self, tasks: Mapping[str, Mapping[str, Any]]) -> None:
        ended = [task for task in tasks.values() if task["state"] in FINISHED and task["task_id"] not in self._stages]
        for task in sorted(ended, key=lambda task: str(task["end_date"])):
            stage = self._stage(task)
            self._stages[stage.task_id] = stage
            if stage.state in ("success", "failed"):
                took = f"{duration(self._terminal.language, stage.seconds):>8}"
                mark = self._terminal.mark(stage.state == "success")
                self._terminal.line(f"{took}  {size(stage)}", f"{mark} {stage.task_id:{NAME_WIDTH}}")
        for task in tasks.values():
            attempt = (str(task["task_id"]), int(task["try_number"]))
            if task["state"] == "up_for_retry" and attempt not in self._retries:
                self._retries.add(attempt)
                self._terminal.line(self._terminal.text("run.retry"), f"  {task['task_id']:{NAME_WIDTH}}")

    def _stage(self, task: Mapping[str, Any]) -> Stage:
        result = None
        if task["state"] == "success":
            try:
                result = self._world.airflow.xcom(self._dag_id, self._run_id, task["task_id"])
            except AirflowError:  # it left nothing
                result = None
        return Stage(
            task_id=task["task_id"],
            state=task["state"],
            seconds=task["duration"] or 0.0,
            ended=datetime.fromisoformat(task["end_date"]) if task["end_date"] else None,
            result=result if isinstance(result, dict) else {},
        )

    def _ended(self, run: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]]) -> Run:
        if run["state"] != "success":
            failed = [task for task in tasks.values() if task["state"] == "failed"]
            for task in sorted(failed, key=lambda task: str(task["end_date"])):
                if task["task_id"] == NOTIFY and len(failed) > 1:
                    continue  # it only reports the others
                attempt = task["try_number"]
                self._terminal.tell("run.log", task=task["task_id"], attempt=attempt)
                log = self._world.airflow.log(self._dag_id, self._run_id, task["task_id"], attempt)
                self._terminal.block(log_tail(log))
            raise DemoError(self._text("run.failed"))
        seconds = _seconds(run)
        self._terminal.tell("run.ended", seconds=seconds)
        return Run(self._run_id, seconds, tuple(self._stages.values()))


def start_and_follow(
    world: World, terminal: Terminal, dag_id: str, conf: Mapping[str, Any], answer: Callable[[str], None]
) -> Run:
    """Trigger a run through the API and follow it; `answer` gets its id when a person is asked."""
    run_id = world.airflow.trigger(dag_id, conf)
    terminal.tell("run.started", run_id=run_id, dag_id=dag_id)
    return Follower(world, terminal, dag_id, run_id).follow(lambda: answer(run_id))


def _seconds(run: Mapping[str, Any]) -> float:
    started, ended = (datetime.fromisoformat(run[name]) for name in ("start_date", "end_date"))
    return (ended - started).total_seconds()


def size(stage: Stage) -> str:
    """What went through a stage: `204.1 MiB → 98.0 MiB`."""
    if "stored_bytes" in stage.result:
        return f"{human_bytes(stage.result['raw_bytes'])} → {human_bytes(stage.result['stored_bytes'])}"
    before, after = stage.result.get("bytes_in") or 0, stage.result.get("bytes_out") or 0
    if before and after and before != after:
        return f"{human_bytes(before)} → {human_bytes(after)}"
    return human_bytes(after or before) if after or before else ""


def summary_rows(world: World, terminal: Terminal, run: Run) -> Iterator[list[str]]:
    """A row for each task: what, how long, how big, where."""
    for stage in sorted(run.stages, key=lambda stage: _place(world, stage)):
        took = terminal.text("run.skipped") if stage.state == "skipped" else duration(terminal.language, stage.seconds)
        yield [_title(terminal, stage), took, size(stage), _where(world, stage)]


def _place(world: World, stage: Stage) -> int:
    """Tasks of the components, which run side by side, one component after the other."""
    groups = component_names(world.settings)
    group = stage.task_id.rpartition(".")[0]
    if group in groups:
        return 1 + groups.index(group)
    return 0 if stage.name == "preflight" else 1 + len(groups)


def _title(terminal: Terminal, stage: Stage) -> str:
    group = stage.task_id.rpartition(".")[0].rpartition(".")[2]
    title = text(terminal.language, f"stage.{stage.name}")
    if not group:
        return title
    if stage.task_id.startswith(SAFETY_GROUP):
        return f"{text(terminal.language, f'group.{SAFETY_GROUP}')}: {title}"
    return f"{component_label(terminal.language, group)}: {title}"


def _where(world: World, stage: Stage) -> str:
    repositories = f"{shown(world.local_root)} + s3://{BUCKET}"
    production = f"127.0.0.1:{world.production.port}"
    staging = shown(world.settings.staging.directory)
    places = {
        "preflight": production,
        "dump": staging,
        "archive": staging,
        "sync": repositories,
        "compress": staging,
        "encrypt": staging,
        "upload": repositories,
        "verify": repositories,
        "publish": str(stage.result.get("set", "")),
        "notify": world.slack.url,
        "fetch": staging,
        "load": production,
        "restore_files": shown(world.www),
        "apply_binlogs": production,
        "verify_restore": production,
    }
    return places.get(stage.name, "") if stage.state != "skipped" else ""
