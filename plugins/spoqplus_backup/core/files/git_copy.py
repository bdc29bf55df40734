"""The configuration as commits: what changed since the last backup goes to a branch of its day in a git remote.

Only what `config_git.paths` name, and nothing that `config_git.exclude` matches or that holds a private key: secrets
are in the encrypted archive. The work tree is private and of this module alone; no hook, filter, or setting of the
machine's git has a say, and nobody is asked for a password.

    <staging>/<site>/config_git/        removed and made anew by each run
"""

import contextlib
import logging
import os
import re
import shlex
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from pathlib import Path
from zoneinfo import ZoneInfo

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.process import ProcessError, check_cancelled, find_program, output_of, secret_fd
from spoqplus_backup.core.run import StageSummary
from spoqplus_backup.core.settings import ConfigGitSettings, Settings
from spoqplus_backup.core.staging import locked

log = logging.getLogger(__name__)

CONNECT_SECONDS = 20
WAIT_SECONDS = 300.0  # for another cadence's run
BLOCK_BYTES = 1 << 20
OVERLAP = 256  # longer than what is searched for
NAMED = 10

_PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|AGE-SECRET-KEY-1[A-Z0-9]{20}")
_DAY = r"\d{8}"
# What a file in the tree says of attributes must not change what is committed.
_ATTRIBUTES = "* -text -filter -ident -working-tree-encoding -eol\n"


@dataclass(frozen=True)
class GitCopy:
    """What a run did. `branch` is None when nothing had changed since the branch `before`.

    `exposed` says that `before` holds what is excluded now, so that the new branch has no history.
    """

    branch: str | None
    commit: str | None
    before: str | None
    files: int
    excluded: int
    exposed: bool = False


def copy_to_git(settings: Settings, connections: Connections, now: datetime | None = None) -> StageSummary:
    """Commit the configuration to the branch of today when it differs from the last backup's branch, and push it.

    Args:
        settings: the site.
        connections: has the remote's login, where there is one.
        now: the time, for the branch's name; now when None.

    Raises:
        PermanentError: a private key would be committed, or a file can't be read; nothing was sent.
        BackupError: the remote can't be reached or refuses.
    """
    chosen = settings.config_git
    if chosen is None:
        raise PermanentError(f"{settings.source}: `config_git` is null: there is no remote to commit to.")
    moment = now or datetime.now(timezone.utc)
    folder = settings.staging.directory / settings.site / "config_git"
    started = datetime.now(timezone.utc)
    with (
        locked(folder.with_suffix(".lock"), f"the git copy of {settings.site}", WAIT_SECONDS),
        _login(chosen, connections) as login,
    ):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        try:
            done = _copy(_Git(folder, chosen, *login), chosen, moment.astimezone(ZoneInfo(settings.timezone)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return StageSummary(
        stage="config_git",
        component="config",
        parts=done.files,
        bytes_in=0,
        bytes_out=0,
        seconds=(datetime.now(timezone.utc) - started).total_seconds(),
        detail={
            "branch": done.branch,
            "commit": done.commit,
            "before": done.before,
            "excluded": done.excluded,
            "exposed": done.exposed,
        },
    )


class _Git:
    """A repository of our own, and how to call git there."""

    def __init__(
        self,
        folder: Path,
        chosen: ConfigGitSettings,
        options: Sequence[str],
        env: Mapping[str, str],
        fds: Sequence[int],
    ) -> None:
        self.tree = folder / "tree"
        self.tree.mkdir(mode=0o700)
        self.url = chosen.remote
        self._seconds = float(chosen.timeout_seconds)
        self._options = ["-C", str(self.tree), *options]
        self._fds = fds
        self._env = {
            "GIT_DIR": str(folder / "git"),
            "GIT_WORK_TREE": str(self.tree),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "SSH_ASKPASS": "true",
            "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",  # no `ext::`, which runs a command
            **env,
        }
        self("init", "--quiet")
        self("config", "core.hooksPath", os.devnull)
        self("config", "core.autocrlf", "false")
        (folder / "git" / "info").mkdir(exist_ok=True)
        (folder / "git" / "info" / "attributes").write_text(_ATTRIBUTES)  # goes before those in the tree

    def __call__(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """Run git; what it printed."""
        command = [find_program("git", "git"), *self._options, *arguments]
        output = output_of(command, env={**self._env, **(env or {})}, pass_fds=self._fds, stall_seconds=self._seconds)
        return output.decode("utf-8", "replace").strip()

    def remote(self, *arguments: str) -> str:
        """Run git against the remote.

        Raises:
            BackupError: it can't be reached or refuses.
        """
        try:
            return self(*arguments)
        except ProcessError as error:
            raise BackupError(
                f"The git remote {self.url} can't be used, {error}. Look after the network, the remote, and "
                "what this host logs in with there."
            ) from error


Login = tuple[Sequence[str], Mapping[str, str], Sequence[int]]


@contextlib.contextmanager
def _login(chosen: ConfigGitSettings, connections: Connections) -> Iterator[Login]:
    """How git gets into the remote: options, environment and file descriptors for it; a password only in the last."""
    if chosen.connection is not None:
        user, password = connections.login(chosen.connection)
        if "\n" in user + password:
            raise PermanentError(f"The connection {chosen.connection} has a line break in its login or password.")
        with secret_fd(f"username={user}\npassword={password}\n".encode()) as fd:
            # an empty helper first: none of the machine's
            helper = f'!f() {{ test "$1" = get && cat /proc/self/fd/{fd}; }}; f'
            yield ["-c", "credential.helper=", "-c", f"credential.helper={helper}"], {}, [fd]
        return
    yield [], {"GIT_SSH_COMMAND": _ssh(chosen)}, []


def _ssh(chosen: ConfigGitSettings) -> str:
    words = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}", "-o", "StrictHostKeyChecking=yes"]
    if chosen.ssh_key_file is not None:
        words += ["-i", str(chosen.ssh_key_file), "-o", "IdentitiesOnly=yes"]
    if chosen.known_hosts_file is not None:
        words += ["-o", f"UserKnownHostsFile={chosen.known_hosts_file}"]
    return shlex.join(words)


def _copy(git: _Git, chosen: ConfigGitSettings, moment: datetime) -> GitCopy:
    before = _last_branch(git, chosen.branch_prefix)
    parent = None
    if before is not None:
        git.remote("fetch", "--quiet", "--depth=1", "--no-tags", "--", chosen.remote, f"refs/heads/{before}")
        parent = git("rev-parse", "FETCH_HEAD")
    excluded = sum(_bring(path, git.tree, chosen.exclude) for path in chosen.paths)
    if not any(git.tree.iterdir()):
        raise PermanentError(
            f"There is nothing to commit in {', '.join(map(str, chosen.paths))}: correct `config_git.paths`, or set "
            "`config_git` to null. Nothing was committed."
        )
    _refuse_keys(git.tree)
    git("add", "--all", "--force", "--", ".")  # a .gitignore in there does not count
    tree = git("write-tree")
    files = git("ls-files", "-z").count("\0")
    if parent is not None and git("rev-parse", f"{parent}^{{tree}}") == tree:
        log.info("The configuration is the same as in %s", before)
        return GitCopy(None, None, before, files, excluded)
    exposed = parent is not None and _exposes(git, chosen, parent)
    commit = _commit(git, chosen, tree, None if exposed else parent, moment)
    branch = f"{chosen.branch_prefix}{moment:%Y%m%d}"
    force = "+" if exposed and branch == before else ""  # its history is what has to go
    git.remote("push", "--quiet", "--", chosen.remote, f"{force}{commit}:refs/heads/{branch}")
    log.info("The configuration was committed as %s to %s of %s", commit[:12], branch, chosen.remote)
    return GitCopy(branch, commit, before, files, excluded, exposed)


def _exposes(git: _Git, chosen: ConfigGitSettings, commit: str) -> bool:
    """Whether a commit holds what is excluded now: nothing may be built on it."""
    for name in git("ls-tree", "-r", "-z", "--name-only", commit).split("\0"):
        path = Path("/", name)
        for root in chosen.paths:
            if name and path.is_relative_to(root) and is_excluded(path, root.parent, chosen.exclude):
                log.warning("%s is in the git remote and is excluded now", path)
                return True
    return False


def _last_branch(git: _Git, prefix: str) -> str | None:
    """The newest backup's branch in the remote, by its day; None when there is none."""
    listed = git.remote("ls-remote", "--heads", "--", git.url, f"refs/heads/{prefix}*")
    names = [line.partition("refs/heads/")[2] for line in listed.splitlines()]
    ours = [name for name in names if re.fullmatch(re.escape(prefix) + _DAY, name)]
    return max(ours, default=None)


def _commit(git: _Git, chosen: ConfigGitSettings, tree: str, parent: str | None, moment: datetime) -> str:
    name, _, address = chosen.author.rstrip(">").rpartition(" <")
    who = {
        f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in _who(name, address, moment)
    }
    parents = ["-p", parent] if parent is not None else []
    return git("commit-tree", "--no-gpg-sign", tree, *parents, "-m", f"Backup configuration {moment:%Y-%m-%d}", env=who)


def _who(name: str, address: str, moment: datetime) -> tuple[tuple[str, str], ...]:
    return ("NAME", name), ("EMAIL", address), ("DATE", moment.isoformat(timespec="seconds"))


def _bring(path: Path, tree: Path, exclude: Sequence[str]) -> int:
    """Copy a file or folder to its place below the work tree; how many files were left out by their names."""
    if not os.path.lexists(path):
        log.warning("%s is not there: it is not in the git copy", path)
        return 0
    excluded = 0
    for source, left_out in _files(path, path.parent, exclude):
        check_cancelled()
        if left_out:
            excluded += 1
            continue
        target = tree / source.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy_file(source, target)
    return excluded


def _copy_file(source: Path, target: Path) -> None:
    try:
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif stat.S_ISREG(source.stat().st_mode):
            shutil.copyfile(source, target, follow_symlinks=False)
            target.chmod(0o700 if source.stat().st_mode & stat.S_IXUSR else 0o600)
    except FileNotFoundError:
        log.warning("%s vanished while it was copied", source)
    except OSError as error:
        raise PermanentError(
            f"{source} can't be copied ({error.strerror}): let the user that Airflow runs as read it, or name it in "
            "`config_git.exclude`. Nothing was committed."
        ) from error


def _files(path: Path, root: Path, exclude: Sequence[str]) -> Iterator[tuple[Path, bool]]:
    """The files and links at and below a path, and whether they are excluded; an excluded folder is not looked into.

    Git repositories of others below it are not copied.
    """
    left_out = is_excluded(path, root, exclude)
    if left_out or path.is_symlink() or not path.is_dir():
        yield path, left_out
        return
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise PermanentError(
            f"The folder {path} can't be read ({error.strerror}): let the user that Airflow runs as read it. Nothing "
            "was committed."
        ) from error
    for entry in entries:
        if entry.name != ".git":
            yield from _files(entry, root, exclude)


def is_excluded(path: Path, root: Path, patterns: Sequence[str]) -> bool:
    """Whether a pattern matches a name below `root`, or, when it has a `/`, the whole path; capitals don't matter."""
    names = [name.lower() for name in path.relative_to(root).parts]
    whole = str(path).lower()
    for pattern in map(str.lower, patterns):
        if any(fnmatchcase(text, pattern) for text in ([whole] if "/" in pattern else names)):
            return True
    return False


def _refuse_keys(tree: Path) -> None:
    """Private keys under a harmless name.

    Raises:
        PermanentError: there is one; the message names the files.
    """
    found = [str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file() and not path.is_symlink()]
    holding = [f"/{name}" for name in sorted(found) if _holds_key(tree / name)]
    if holding:
        named = ", ".join(holding[:NAMED])
        raise PermanentError(
            f"{named} holds a private key, which must not get into git: name it in `config_git.exclude` (it is in the "
            "encrypted archive). Nothing was committed."
        )


def _holds_key(path: Path) -> bool:
    before = b""
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            if _PRIVATE_KEY.search(before + block):
                return True
            before = block[-OVERLAP:]
    return False
