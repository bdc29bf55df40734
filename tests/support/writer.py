"""Sessions that write while a backup runs, so that a backup which is not one moment's state can be told.

Each transaction moves money between two accounts and notes it in two journals. In every single moment the balances add
up, both journals hold the same entries, and each balance is what the journals say. The tables lie far apart in the
alphabet, with bulk between them: a backup that reads them one after the other, without a snapshot, breaks all three.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import Any

from support.servers import quoted, rows, wait_until

DATABASE = "ledger"
ACCOUNTS = 100
OPENING = 1000

_TABLES = ("aa_accounts", "ab_entries", "mm_bulk", "zz_entries")


def create(connection: Any, *, bulk_mib: int = 8) -> None:
    """Make the database; `bulk_mib` of rows lie between the tables that are written to."""
    rows(connection, f"CREATE DATABASE {DATABASE}")
    rows(connection, f"CREATE TABLE {DATABASE}.aa_accounts (id INT PRIMARY KEY, balance INT NOT NULL)")
    columns = "id CHAR(20) PRIMARY KEY, giver INT NOT NULL, taker INT NOT NULL, amount INT NOT NULL"
    for table in ("ab_entries", "zz_entries"):
        rows(connection, f"CREATE TABLE {DATABASE}.{table} ({columns})")
    rows(connection, f"CREATE TABLE {DATABASE}.mm_bulk (id INT PRIMARY KEY, body MEDIUMBLOB)")
    values = ", ".join(f"({number}, {OPENING})" for number in range(ACCOUNTS))
    rows(connection, f"INSERT INTO {DATABASE}.aa_accounts VALUES {values}")
    rng = random.Random(5)
    for number in range(bulk_mib * 4):
        rows(connection, f"INSERT INTO {DATABASE}.mm_bulk VALUES (%s, %s)", (number, rng.randbytes(1 << 18)))


def violations(connection: Any, database: str = DATABASE) -> list[str]:
    """What is not as it was in any single moment; empty for a consistent copy."""
    name = quoted(database)
    found = []
    ((total,),) = rows(connection, f"SELECT SUM(balance) FROM {name}.aa_accounts")
    if total != ACCOUNTS * OPENING:
        found.append(f"the balances add up to {total}, not to {ACCOUNTS * OPENING}")
    for one, other in (("ab_entries", "zz_entries"), ("zz_entries", "ab_entries")):
        ((missing,),) = rows(
            connection, f"SELECT COUNT(*) FROM {name}.{one} WHERE id NOT IN (SELECT id FROM {name}.{other})"
        )
        if missing:
            found.append(f"{missing} entries of {one} are not in {other}")
    moved = f"""SELECT id, SUM(amount) AS amount FROM (
        SELECT taker AS id, amount FROM {name}.zz_entries UNION ALL SELECT giver, -amount FROM {name}.zz_entries
    ) AS moves GROUP BY id"""
    ((wrong,),) = rows(
        connection,
        f"SELECT COUNT(*) FROM {name}.aa_accounts LEFT JOIN ({moved}) AS moved USING (id)"
        f" WHERE balance <> {OPENING} + COALESCE(moved.amount, 0)",
    )
    if wrong:
        found.append(f"{wrong} balances differ from what zz_entries says")
    return found


class Writer:
    """Writes from several sessions for as long as its `with` block lasts; an error of any of them ends the block.

    The database has to be there: `create`.
    """

    def __init__(self, connect: Callable[..., Any], *, sessions: int = 2) -> None:
        self._stop = threading.Event()
        self._counts = [0] * sessions
        self._errors: list[Exception] = []
        self._threads = [
            threading.Thread(target=self._write, args=(number, connect(autocommit=False)), daemon=True)
            for number in range(sessions)
        ]

    @property
    def transactions(self) -> int:
        """How many were committed so far."""
        return sum(self._counts)

    def wait_for(self, transactions: int = 1, seconds: float = 30) -> None:
        """Return when so many more have been committed; raises what went wrong in a session instead."""
        wanted = self.transactions + transactions
        wait_until(lambda: bool(self._errors) or self.transactions >= wanted, seconds, f"{transactions} transactions")
        if self._errors:
            raise self._errors[0]

    def __enter__(self) -> "Writer":
        for thread in self._threads:
            thread.start()
        self.wait_for()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._errors and kind is None:
            raise self._errors[0]

    def _write(self, session: int, connection: Any) -> None:
        rng = random.Random(session)
        try:
            while not self._stop.is_set():
                # locked in one order, so that two sessions never wait for each other
                first, second = sorted(rng.sample(range(ACCOUNTS), 2))
                amount = rng.randrange(-50, 50)
                entry = f"{session}-{self._counts[session]}"
                self._transfer(connection, entry, first, second, amount)
                self._counts[session] += 1
                time.sleep(0.001)  # leaves a processor to the backup
        except Exception as error:  # noqa: BLE001 (raised again by the thread that waits)
            self._errors.append(error)
        finally:
            connection.close()

    @staticmethod
    def _transfer(connection: Any, entry: str, giver: int, taker: int, amount: int) -> None:
        update = f"UPDATE {DATABASE}.aa_accounts SET balance = balance + %s WHERE id = %s"
        rows(connection, update, (-amount, giver))
        rows(connection, update, (amount, taker))
        for table in ("ab_entries", "zz_entries"):
            insert = f"INSERT INTO {DATABASE}.{table} VALUES (%s, %s, %s, %s)"
            rows(connection, insert, (entry, giver, taker, amount))
        connection.commit()


def copy_without_snapshot(connection: Any, target: str, between: Callable[[], None]) -> None:
    """Copy table by table into another database, calling `between` after each: what a careless backup does."""
    rows(connection, f"CREATE DATABASE {quoted(target)}")
    for table in _TABLES:
        rows(connection, f"CREATE TABLE {quoted(target)}.{table} AS SELECT * FROM {DATABASE}.{table}")
        between()
