"""A production server that a test may restart, kill, reset and reconfigure."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spoqplus_backup.core.manifest import Flavour
from spoqplus_backup.core.mysql.sandbox import SandboxServer
from support.servers import run, start, wait_until


class ProductionServer:
    """A private server whose directory outlives its process."""

    def __init__(self, directory: Path, flavour: Flavour) -> None:
        self.directory = directory
        self.flavour = flavour
        self.server = self._start()

    def _start(self, **options: str) -> SandboxServer:
        return start(self.directory, self.flavour, tcp=False, **options)

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as root; the rows of the last."""
        return run(self.server, *statements)

    def write(self, transactions: int = 1) -> None:
        """Commit so many transactions to ledger.entries."""
        self.run(*["INSERT INTO ledger.entries (note) VALUES (UUID())"] * transactions)

    def logs(self) -> list[str]:
        """The names of its binary logs."""
        return [str(row[0]) for row in self.run("SHOW BINARY LOGS")]

    def flush(self) -> None:
        """Begin a new log."""
        self.run("FLUSH LOCAL BINARY LOGS")

    def purge_to(self, name: str) -> None:
        """Remove the logs before one."""

        def purged() -> bool:
            self.run(f"PURGE BINARY LOGS TO '{name}'")
            return self.logs()[0] == name

        wait_until(purged, 10, f"the server to let go of what is before {name}")

    def reset(self) -> None:
        """Begin the logs anew."""
        self.run("RESET MASTER" if self.flavour == "mariadb" else "RESET BINARY LOGS AND GTIDS")

    def restart(self, *, kill: bool = False, **options: str) -> None:
        """End it, by force with `kill`, and start it again, with other options."""
        (self.server.kill if kill else self.server.stop)()
        self.server = self._start(**options)

    def renew(self) -> None:
        """As it was first: an empty ledger, and logs that begin here."""
        if not self.server.is_running():
            self.server = self._start()
        self.run("DROP DATABASE IF EXISTS ledger", "CREATE DATABASE ledger")
        self.run("CREATE TABLE ledger.entries (id INT AUTO_INCREMENT PRIMARY KEY, note TEXT)")
        self.reset()


def production(directory: Path, flavour: Flavour) -> Iterator[ProductionServer]:
    """One for as long as the generator lives; its files go with it."""
    made = ProductionServer(directory, flavour)
    try:
        yield made
    finally:
        made.server.kill()
        shutil.rmtree(directory, ignore_errors=True)
