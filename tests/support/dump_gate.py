"""A mysqldump that can be held: before it begins, or in the middle of its dump."""

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from support.servers import is_alive, wait_until

_SCRIPT = """#!/bin/sh
case " $* " in *" --version "*) exec {program} "$@" ;; esac
while [ -e {closed} ]; do sleep 0.05; done
if [ -e {stuck} ]; then
    {program} "$@" | head -c 20000
    echo "$@" > {held}/$$
    exec sleep 600
fi
exec {program} "$@"
"""


@dataclass(frozen=True)
class HeldDump:
    """A dump that wrote its first 20 kB and no more: the program's process id and its arguments."""

    pid: int
    arguments: str

    @property
    def task_pid(self) -> int:
        """The process of the task that runs it."""
        return int(Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[1])

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return is_alive(self.pid)


class DumpGate:
    """The folder for `database.client_directory`, and the switches."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._closed, self._stuck, self._held = directory / "closed", directory / "stuck", directory / "held"
        self._held.mkdir()
        for name in ("mysqldump", "mysql"):
            program = shutil.which(name)
            assert program is not None, f"There is no {name}: apt-get install mariadb-client."
            if name == "mysql":
                (directory / name).symlink_to(program)
                continue
            places = {"program": program, "closed": self._closed, "stuck": self._stuck, "held": self._held}
            script = _SCRIPT.format(**{key: shlex.quote(str(value)) for key, value in places.items()})
            (directory / name).write_text(script)
            (directory / name).chmod(0o755)

        binlog = shutil.which("mariadb-binlog")
        assert binlog is not None, "There is no mariadb-binlog: apt-get install mariadb-client."
        (directory / "mariadb-binlog").symlink_to(binlog)

    def close(self) -> None:
        """Let no dump begin."""
        self._closed.touch()

    def stick(self) -> None:
        """Let every dump that begins from now on get stuck in its middle, for ever."""
        for old in self._held.iterdir():
            old.unlink()
        self._stuck.touch()

    def open(self) -> None:
        """Let dumps begin and end; the stuck ones stay stuck."""
        self._closed.unlink(missing_ok=True)
        self._stuck.unlink(missing_ok=True)

    def wait_for(self, count: int, seconds: float = 120) -> list[HeldDump]:
        """Wait until that many dumps are stuck."""
        wait_until(lambda: len(list(self._held.iterdir())) >= count, seconds, f"{count} dumps in their middle")
        return [HeldDump(int(path.name), path.read_text()) for path in self._held.iterdir()]
