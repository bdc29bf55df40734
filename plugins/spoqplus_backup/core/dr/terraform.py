"""Runs Terraform or OpenTofu: init, plan, apply of exactly that plan, outputs.

What it says comes as JSON lines, and goes to the log while it works. Secret variables and AWS's keys are handed over in
memory; their values never appear in the log, and neither do sensitive outputs. The state's lock is waited for and
never taken by force. Cancelled, the program is asked once and given time to save its state (`graceful.py`).
"""

import contextlib
import json
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spoqplus_backup.core.confine import open_to_children
from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.dr.errors import aws_calls
from spoqplus_backup.core.dr.folder import dr_folder, run_file
from spoqplus_backup.core.dr.server import dr_settings
from spoqplus_backup.core.errors import BackupError, PermanentError, SettingsError
from spoqplus_backup.core.process import Cancelled, Child, ProcessError, output_of, secret_fd
from spoqplus_backup.core.settings import Settings
from spoqplus_backup.core.settings_dr import DrTerraformSettings
from spoqplus_backup.core.staging import read_json, write_json

log = logging.getLogger(__name__)

PRODUCTS = ("terraform", "tofu")
NOTHING_CHANGES, CHANGES = 0, 2  # `plan -detailed-exitcode`
PLAN_FILE = "plan.tfplan"
PLAN_DAYS = 30  # that it is kept
MASK = "***"
SAID_CHARACTERS = 400  # of what it says of a lock that it can't read
SHORTEST_SECRET = 4  # shorter values are not masked in the log: every word would be
_GRACEFUL = Path(__file__).with_name("graceful.py")
_KILL_SECONDS = 10.0  # after its own time for the program is over
_LOCKED = "Error acquiring the state lock"
_STALE = "Saved plan is stale"
_LOCK_FIELD = re.compile(r"^\s+(ID|Path|Operation|Who|Created):\s*(.*?)\s*$", re.MULTILINE)
_VERSION = re.compile(r"^(Terraform|OpenTofu) v(\d+\.\d+\.\d+\S*)", re.MULTILINE)
_DESTROYING = ("delete", "replace", "remove")
_HALF_MADE = "tainted"  # by an earlier apply that failed: it is made anew, and nobody uses it yet
_QUIET = frozenset({"refresh_start", "refresh_complete", "outputs", "version"})


class TerraformError(BackupError):
    """The program ended with an error; its own words are in the message."""


class StateLocked(TerraformError):  # noqa: N818 (a state, not a fault)
    """Somebody else works on this state."""

    def __init__(self, directory: Path, product: str, detail: str) -> None:
        found = dict(_LOCK_FIELD.findall(detail))
        self.lock_id, self.who = found.get("ID", "?"), found.get("Who", "?")
        self.operation, self.created = found.get("Operation", "?"), found.get("Created", "?")
        holder = f"is locked by {self.who} since {self.created} ({self.operation}, lock {self.lock_id})"
        if self.lock_id == "?":
            holder = f"can't be locked: {' '.join(detail.split())[:SAID_CHARACTERS]}"
        super().__init__(
            f"The state of {directory} {holder}: wait until whoever has it is done, and retry. When nobody works on it "
            f"any more: `{product} -chdir={directory} force-unlock {self.lock_id}`."
        )


class StalePlan(PermanentError):  # noqa: N818 (a state, not a fault)
    """The state has changed since the plan was made."""


@dataclass(frozen=True)
class Binary:
    """The program. `product` is terraform or tofu."""

    path: str
    product: str
    version: str


@dataclass(frozen=True)
class Planned:
    """A plan: how many resources it adds, changes and destroys, and what is done to which, as `create aws_lb.app`.

    `destroys` are those that are lost or replaced, but for what an earlier apply left half made.
    """

    path: str
    add: int
    change: int
    destroy: int
    resources: tuple[str, ...]
    destroys: tuple[str, ...]
    seconds: float

    @property
    def changes(self) -> bool:
        """Whether there is anything to apply (a change of outputs alone counts as none)."""
        return bool(self.add or self.change or self.destroy)


@dataclass(frozen=True)
class Applied:
    """What was done, in resources and seconds."""

    add: int
    change: int
    destroy: int
    seconds: float


@dataclass
class _Heard:
    """What a run of the program said."""

    errors: list[tuple[str, str]] = field(default_factory=list)  # summary, detail
    counts: dict[str, int] = field(default_factory=dict)
    planned: list[tuple[str, str]] = field(default_factory=list)  # action, address
    destroys: list[str] = field(default_factory=list)
    completed: int = 0


def find_binary(chosen: Path | None) -> Binary:
    """The program that the settings name, or terraform, or tofu on PATH.

    Raises:
        PermanentError: there is none; how to get it.
    """
    paths = [str(chosen)] if chosen else [path for name in PRODUCTS if (path := shutil.which(name))]
    if not paths or (chosen and not os.access(chosen, os.X_OK)):
        where = f"at {chosen}" if chosen else "on PATH"
        raise PermanentError(
            f"There is no terraform or tofu {where}. Neither is in Debian or on PyPI: unpack the archive of one "
            "(developer.hashicorp.com/terraform/install, opentofu.org/docs/intro/install, checked against its "
            "SHA256SUMS) to /usr/local/bin on every worker of the queue, or name it in `dr.terraform.binary`."
        )
    said = output_of([paths[0], "version"], env={"CHECKPOINT_DISABLE": "1"}, stall_seconds=60).decode(
        "utf-8", "replace"
    )
    found = _VERSION.search(said)
    if found is None:
        raise PermanentError(f"{paths[0]} is no terraform and no tofu (it says {said[:80]!r}): correct its path.")
    return Binary(paths[0], "tofu" if found[1] == "OpenTofu" else "terraform", found[2])


def check_directory(folder: Path) -> None:
    """Raises `SettingsError` unless it holds a configuration."""
    if not any(folder.glob("*.tf")) and not any(folder.glob("*.tf.json")):
        raise SettingsError(f"{folder} holds no *.tf: correct `dr.terraform.directory`.")


def open_terraform(
    settings: Settings,
    connections: Connections,
    run_id: str,
    *,
    region: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> "Terraform":
    """The site's configuration, ready to run; plans are kept for a run.

    Args:
        settings: the site.
        connections: where secret variables and AWS's keys are.
        run_id: names the run, so that its plan is found again.
        region: goes as `-var region=`; the settings' own when None.
        variables: go over those of the settings.

    Raises:
        SettingsError: there is no configuration, or no such connection.
        PermanentError: there is no program.
    """
    dr = dr_settings(settings)
    if dr.terraform is None:
        raise SettingsError(f"{settings.source}: `dr.terraform` is null: there is nothing to apply; fill it in.")
    how = dr.terraform
    check_directory(how.directory)
    region = region or dr.region
    with aws_calls(f"To get the credentials of {dr.connection}"):
        environment, keys = connections.aws_environment(dr.connection, region)
    _forget_old_plans(dr_folder(settings))
    return Terraform(
        binary=find_binary(how.binary),
        how=how,
        data=dr_folder(settings) / "terraform",
        plan_file=run_file(settings, run_id, PLAN_FILE),
        variables={"region": region, "environment": "dr"} | how.variables | dict(variables or {}),
        secrets={name: connections.secret(connection) for name, connection in how.secrets.items()},
        environment=environment,
        keys=keys,
    )


def _forget_old_plans(folder: Path) -> None:
    """They hold the values of variables, secret ones, too."""
    for path in folder.glob(f"*/{PLAN_FILE}"):
        if time.time() - path.stat().st_mtime > PLAN_DAYS * 86_400:
            path.unlink()


@dataclass(frozen=True)
class Terraform:
    """One configuration and how to run it. Plugins are kept in `data`, so a rehearsal has them there for the night."""

    binary: Binary
    how: DrTerraformSettings
    data: Path
    plan_file: Path
    variables: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False, default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    keys: bytes | None = field(repr=False, default=None)

    def init(self) -> None:
        """Get providers and modules, and open the state.

        Raises:
            TerraformError: that failed.
        """
        backend = [f"-backend-config={name}={value}" for name, value in self.how.backend.items()]
        log.info("%s %s in %s", self.binary.product, self.binary.version, self.how.directory)
        self._run("init", "-reconfigure", f"-lock-timeout={self.how.lock_seconds}s", *backend)

    def plan(self) -> Planned:
        """Make a plan and keep it; nothing is changed.

        Raises:
            StateLocked: somebody else works on it.
            TerraformError: the configuration is wrong, or AWS can't be asked.
        """
        start = time.monotonic()
        values = [f"-var={name}={value}" for name, value in self.variables.items()]
        lock = f"-lock-timeout={self.how.lock_seconds}s"
        heard = self._run(
            "plan", "-detailed-exitcode", lock, f"-out={self.plan_file}", *values, allowed=(NOTHING_CHANGES, CHANGES)
        )
        self.plan_file.chmod(0o600)
        counts = heard.counts
        planned = Planned(
            path=str(self.plan_file),
            add=counts.get("add", 0),
            change=counts.get("change", 0),
            destroy=counts.get("remove", 0),
            resources=tuple(f"{action} {address}" for action, address in heard.planned),
            destroys=tuple(heard.destroys),
            seconds=round(time.monotonic() - start, 1),
        )
        write_json(self._note, asdict(planned))
        return planned

    @property
    def _note(self) -> Path:
        return self.plan_file.with_suffix(".json")

    def kept_plan(self) -> Planned:
        """The plan that was made for this run before.

        Raises:
            PermanentError: there is none.
        """
        found = read_json(self._note)
        if not found or not self.plan_file.exists():
            raise PermanentError(
                f"There is no plan at {self.plan_file}: clear the task that plans, on the same worker."
            )
        return Planned(**{**found, "resources": tuple(found["resources"]), "destroys": tuple(found["destroys"])})

    def forget_plan(self) -> None:
        """Remove the plan of this run."""
        for path in (self.plan_file, self._note):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something else of the run is there
            self.plan_file.parent.rmdir()

    def check(self, planned: Planned) -> None:
        """Raises `PermanentError` when it destroys something that it may not."""
        if planned.destroys and not self.how.allow_destroy:
            raise PermanentError(
                f"The plan destroys or replaces {', '.join(planned.destroys)}: a failover destroys nothing. Look at "
                f"`{self.binary.product} -chdir={self.how.directory} show {planned.path}`; set "
                "`dr.terraform.allow_destroy: true` if it is meant."
            )

    def apply(self, planned: Planned) -> Applied:
        """Do what the plan says, and nothing else.

        Raises:
            StateLocked: somebody else works on it.
            StalePlan: the state changed meanwhile, also by an earlier try: plan again.
            TerraformError: it failed half-way; what was done is in the state, and the next plan goes on from there.
            PermanentError: it would destroy something.
        """
        self.check(planned)
        start = time.monotonic()
        heard = self._run("apply", f"-lock-timeout={self.how.lock_seconds}s", planned=planned)
        counts, seconds = heard.counts, round(time.monotonic() - start, 1)
        return Applied(counts.get("add", 0), counts.get("change", 0), counts.get("remove", 0), seconds)

    def outputs(self) -> dict[str, Any]:
        """The configuration's outputs; those that it calls sensitive are None."""
        with self._prepared("output", ["-json"], secrets=False) as (argv, env, fds):
            said = output_of(argv, env=env, pass_fds=fds, cwd=self.how.directory)
        found = json.loads(said or b"{}")
        return {name: None if item.get("sensitive") else item.get("value") for name, item in found.items()}

    def _run(
        self, command: str, *options: str, allowed: Sequence[int] = (0,), planned: Planned | None = None
    ) -> _Heard:
        heard = _Heard()
        arguments = ["-json", "-input=false", *options]
        with self._prepared(command, arguments, secrets=command == "plan", planned=planned) as (argv, env, fds):
            guard = [sys.executable, "-I", str(_GRACEFUL), str(self.how.stop_seconds)]
            with Child(
                [*guard, *argv],
                env=env,
                pass_fds=fds,
                cwd=self.how.directory,
                name=f"{self.binary.product} {command}",
                death_signal="TERM",
                patience=self.how.stop_seconds + _KILL_SECONDS,
            ) as child:
                with open(child.stdout.fileno(), "rb", closefd=False) as lines:
                    for line in lines:
                        self._hear(line.decode("utf-8", "replace").rstrip(), heard)
                self._judge(child, command, heard, allowed, planned)
        return heard

    @contextlib.contextmanager
    def _prepared(
        self, command: str, arguments: Sequence[str], *, secrets: bool, planned: Planned | None = None
    ) -> Iterator[tuple[list[str], dict[str, str], tuple[int, ...]]]:
        """The arguments, the environment and the descriptors of a run."""
        self.data.mkdir(parents=True, exist_ok=True)
        env = dict(self.environment) | self.how.environment
        env |= {"TF_IN_AUTOMATION": "1", "TF_DATA_DIR": str(self.data), "CHECKPOINT_DISABLE": "1"}
        argv = [self.binary.path, command, *arguments]
        fds: list[int] = []
        with open_to_children(), contextlib.ExitStack() as stack:
            if self.keys is not None:
                fds.append(stack.enter_context(secret_fd(self.keys)))
                env["AWS_SHARED_CREDENTIALS_FILE"] = _path_of(fds[-1])
            if secrets and self.secrets:
                fds.append(stack.enter_context(secret_fd(_variables_file(self.secrets))))
                argv.append(f"-var-file={_path_of(fds[-1])}")
            if planned is not None:
                argv.append(planned.path)
            yield argv, env, tuple(fds)

    def _hear(self, line: str, heard: _Heard) -> None:
        """Take in a line, and say it in the log."""
        try:
            said = json.loads(line)
        except ValueError:
            log.info("%s", self._masked(line))
            return
        kind, text = said.get("type"), self._masked(str(said.get("@message", "")).strip())
        if kind == "diagnostic" and said["diagnostic"].get("severity") == "error":
            found = said["diagnostic"]
            where = f" ({found['address']})" if found.get("address") else ""
            detail = self._masked(found.get("detail") or "")
            heard.errors.append((self._masked(found.get("summary") or "") + where, detail))
            log.error("%s%s: %s", text, where, detail)
            return
        if kind == "planned_change":
            change = said["change"]
            action, address = change["action"], change["resource"]["addr"]
            heard.planned.append((action, address))
            if action in _DESTROYING and change.get("reason") != _HALF_MADE:
                heard.destroys.append(address)
        elif kind == "change_summary":
            heard.counts = said["changes"]
        elif kind == "apply_complete":
            heard.completed += 1
        level = logging.WARNING if said.get("@level") == "warn" else logging.INFO
        if text:
            log.log(logging.DEBUG if kind in _QUIET else level, "%s", text)

    def _masked(self, text: str) -> str:
        for value in self.secrets.values():
            if len(value) >= SHORTEST_SECRET:
                text = text.replace(value, MASK)
        return text

    def _judge(
        self, child: Child, command: str, heard: _Heard, allowed: Sequence[int], planned: Planned | None
    ) -> None:
        try:
            child.finish(allowed=allowed)
        except Cancelled:
            raise Cancelled(
                f"{child.name} was cancelled: {heard.completed} resources were finished before, and the state has "
                "them; a retry goes on from there."
            ) from None
        except ProcessError as error:
            for summary, detail in heard.errors:
                if summary.startswith(_LOCKED):
                    raise StateLocked(self.how.directory, self.binary.product, detail) from None
                if summary.startswith(_STALE):
                    raise StalePlan(
                        f"The state of {self.how.directory} has changed since the plan was made, perhaps by an earlier "
                        "try of this task: clear the task that plans."
                    ) from None
            words = "; ".join(f"{summary}: {detail}" if detail else summary for summary, detail in heard.errors)
            done = ""
            if planned is not None:
                done = f" {heard.completed} of {len(planned.resources)} resources were finished; the next plan goes on."
            raise TerraformError(
                f"{child.name} {error.reason}: {words or self._masked(error.stderr.strip()) or 'it said nothing'}{done}"
            ) from None


def _path_of(fd: int) -> str:
    """A path that leads programs of this user to a descriptor of this process, also those that inherit none."""
    return f"/proc/{os.getpid()}/fd/{fd}"


def _variables_file(values: Mapping[str, str]) -> bytes:
    """Variables in Terraform's own notation, which is that of a file whose name does not end in .json."""
    return "".join(f"{name} = {_quoted(value)}\n" for name, value in values.items()).encode()


def _quoted(value: str) -> str:
    text = json.dumps(value, ensure_ascii=False).replace("\\b", "\\u0008").replace("\\f", "\\u000c")
    return text.replace("${", "$${").replace("%{", "%%{")
