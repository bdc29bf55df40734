"""Replays binary logs into any server: all of them through one mysqlbinlog into one session of the vendor's client.

The target itself notes what it has applied, in the same transaction, so a replay that was interrupted anywhere goes on
behind it when it is called again; see `docs/decisions/0011`. For a target whose data directory is ours `applier.py` is
faster.
"""

import contextlib
import logging
import os
import re
import select
import tempfile
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from spoqplus_backup.core.connections import DatabaseLogin
from spoqplus_backup.core.errors import BackupError, PermanentError
from spoqplus_backup.core.manifest import Flavour
from spoqplus_backup.core.mysql import client, server
from spoqplus_backup.core.mysql import replay_marker as markers
from spoqplus_backup.core.mysql.binlog_filter import kind_of_statement, left_out, manages_accounts
from spoqplus_backup.core.mysql.gtid import GtidSet, MySqlGtid
from spoqplus_backup.core.process import Child, ProcessError
from spoqplus_backup.core.progress import EVERY_SECONDS, human_bytes
from spoqplus_backup.core.recovery.replay_feed import Feed, Nature, Notes, nature
from spoqplus_backup.core.recovery.replay_logs import (
    Found,
    OpenLog,
    Replay,
    check,
    mysql_gtids,
    transactions,
    whole_statements,
)
from spoqplus_backup.core.recovery.replay_watch import Watch
from spoqplus_backup.core.recovery.scheduled_events import give_back_held

__all__ = ["Applied", "Options", "Replay", "ReplayResult", "forget", "replay"]

log = logging.getLogger(__name__)

END_SECONDS = 2.0  # in which a client that caused mysqlbinlog's end has ended, too
SKIPPED_KEPT = 1000  # of the transactions that were left out are named in the result

_ERROR_CODE = re.compile(r"ERROR (\d+)(?: \(\w+\))?(?: at line \d+)?")
_PASSING = {1205, 1213, 1053, 1079, 1158, 1159, 1160, 1161, 1927, 2002, 2003, 2006, 2013, 2055, 4031}
# An account, or a grant, is not there or is there already: the accounts of a backup are written down a moment before or
# after the snapshot that the logs go on from, and may hold what the first of them do. No other statement ends so.
ACCOUNT_ERRORS = (1133, 1141, 1147, 1269, 1396, 1403, 1410, 1959, 1962, 3162, 3523, 3530)
# "it is there already" and "it is not there any more"
_DONE_ALREADY = {1007, 1008, 1050, 1051, 1054, 1060, 1061, 1068, 1091, 1141, 1146, 1176, 1304, 1305, 1359, 1360}
_DONE_ALREADY |= {1397, 1440, 1507, 1517, 1537, 1539, 1826, 3822, 4091, 4092, *ACCOUNT_ERRORS}
_TWICE_IS_NOT_ONCE = re.compile(
    r"\bADD\s+(?:CONSTRAINT\s+)?(?:UNIQUE|FULLTEXT|SPATIAL|INDEX|KEY|CHECK|FOREIGN)\b[\s\w]*\("  # gets another name
    r"|\bRENAME\s+TABLES?\b.*,"  # may exchange two
    r"|\b(?:INSERT|UPDATE|DELETE|REPLACE|LOAD|CALL)\s",
    re.IGNORECASE | re.DOTALL,
)
_PROGRAM = re.compile(r".*?\b(?:PROCEDURE|FUNCTION|TRIGGER|EVENT|PACKAGE|VIEW)\b", re.IGNORECASE | re.DOTALL)
_COMMENT = re.compile(r"#|--|/\*")


@dataclass(frozen=True)
class Options:
    """How to replay.

    `key` names this restore: a second call with it goes on where the first one ended. `binary_log`: the target's own
    log gets what is applied. `skip_accounts`: leave out what is about accounts. `databases`: only these (None: all).
    `events` are the scheduled events of the backup that the load kept from running: they do when all is applied.
    `stall_seconds`: without any progress for so long it is given up.
    """

    key: str
    binary_log: bool = True
    skip_accounts: bool = False
    databases: frozenset[str] | None = None
    events: tuple[tuple[str, str], ...] = ()
    stall_seconds: float = 600


@dataclass(frozen=True)
class Applied:
    """The last transaction that was applied. `place` is the offset behind it in `log`."""

    gtid: str | None
    at: datetime
    log: str
    place: int


@dataclass
class ReplayResult:
    """What one call did. `skipped` names (at most 1000 of) the `left_out` transactions: why, what, which."""

    gtids: markers.Gtids = "own"
    transactions: int = 0
    left_out: int = 0
    bytes: int = 0
    seconds: float = 0.0
    last: Applied | None = None
    skipped: list[str] = field(default_factory=list)


def replay(
    job: Replay, login: DatabaseLogin, flavour: Flavour, client_directory: Path | None, options: Options
) -> ReplayResult:
    """Apply the logs to a server, or what an earlier call with the same key has not yet applied.

    Raises:
        PermanentError: the server refused a statement (its own words, and which transaction), or nobody can tell
            whether a statement was applied that an interruption hit.
        IntegrityError: a log is damaged or missing; what lies before it is applied.
        ProcessError: a program failed; the next call goes on.
    """
    check(job)
    session = _Session(login, flavour, client_directory, options)
    first = markers.Marker("start", job.logs[0].name, job.start, _decide(job, login, flavour))
    marker = markers.begin(login, options.key, first, binary_log=options.binary_log)
    if marker != first:
        log.info("replay: an earlier try came to %s:%d (%s)", marker.log, marker.place, marker.state)
    session.comments = _survey(job, marker, options)
    if marker.state == "intent":
        marker = _settle(job, session, marker)
    result = _Run(job, session, marker).run()
    with server.connect(login) as connection:
        connection.rows(f"SET SESSION sql_log_bin = {int(options.binary_log)}")
        give_back_held(connection, job, options.events)
    return result


def forget(login: DatabaseLogin, key: str, *, binary_log: bool = True) -> None:
    """Take away what the target notes of a replay, once it is verified. `binary_log` as in its options."""
    markers.forget(login, key, binary_log=binary_log)


# ---- GTIDs ----------------------------------------------------------------------------------------------------------


def _decide(job: Replay, login: DatabaseLogin, flavour: Flavour) -> markers.Gtids:
    """Whether the target keeps the transactions' own GTIDs: on a MySQL with GTIDs that has none of them."""
    if flavour == "mariadb":
        return "own"
    with server.connect(login) as connection:
        mode = connection.value("SELECT @@GLOBAL.gtid_mode")
        executed = GtidSet.parse(str(connection.value("SELECT @@GLOBAL.gtid_executed")))
    _, wanted = mysql_gtids(job)
    if mode == "ON" and wanted and wanted.subtract(executed) == wanted:
        log.info("replay: the target has none of these GTIDs (%s) and keeps them", wanted)
        return "kept"
    why = f"the target's gtid_mode is {mode}" if mode != "ON" else "it has some of them, or the logs have none"
    log.info("replay: transactions get GTIDs of the target's own: %s", why)
    return "own"


def _survey(job: Replay, marker: markers.Marker, options: Options) -> bool:
    """Read everything once, before the first statement; returns whether the client has to keep comments.

    It keeps those of stored programs only together with all that mysqlbinlog writes for people, which it sends to the
    server, too, and which takes as long again as the transactions.

    Raises:
        PermanentError, IntegrityError: a log is damaged or missing, or holds what can't be replayed as asked.
    """
    comments = False
    for found in transactions(job, marker.log, marker.place):
        if isinstance(found, OpenLog):
            continue
        transaction = found.transaction
        left_out(transaction, skip_accounts=options.skip_accounts, databases=options.databases, where=str(found))
        if not comments and transaction.commit_start is None:
            comments = any(_PROGRAM.match(text) and _COMMENT.search(text) for text in whole_statements(found))
    return comments


# ---- the two programs -----------------------------------------------------------------------------------------------


class _Session:
    """mysqlbinlog and the client behind it."""

    def __init__(self, login: DatabaseLogin, flavour: Flavour, directory: Path | None, options: Options) -> None:
        self.login = login
        self.options = options
        self.flavour = flavour
        self.comments = True
        self._binlog = client.find("mysqlbinlog", directory, flavour).path
        self._client = client.find("mysql", directory, flavour)

    @contextlib.contextmanager
    def feed(self, gtids: markers.Gtids) -> Iterator[Feed]:
        """Both programs for the length of a block, which feeds them; raises what either of them says in the end.

        The client learns that there is no more only after mysqlbinlog has ended well: it executes what stands before
        the end of its input even when that is half a statement.
        """
        argv = [self._binlog, "--no-defaults"]
        if self.flavour == "mysql" and gtids == "own":
            argv.append("--skip-gtids")
        watch = Watch(self.login, self.options.key, self.options.stall_seconds)
        reading, writing = os.pipe()
        with contextlib.ExitStack() as stack:
            end = stack.enter_context(os.fdopen(writing, "wb", buffering=0))
            with os.fdopen(reading, "rb", buffering=0) as beginning:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="spoqplus-replay-"))
                mysql = stack.enter_context(self._mysql(beginning.fileno(), watch))
            watch.follow(mysql)
            argv += [f"--local-load={folder}", "-"]
            binlog = stack.enter_context(Child(argv, stdin=-1, stdout=end.fileno(), name="mysqlbinlog"))
            stack.callback(mysql.terminate)  # before its input ends

            def stalled(reason: str) -> ProcessError:
                mysql.terminate()  # first: it executes what stands before the end of its input
                binlog.terminate()
                return ProcessError("The replay", reason, f"{binlog.stderr}{mysql.stderr}")

            try:
                feed = Feed(
                    lambda data: watch.write(binlog, data, stalled),
                    Notes(self.options.key, gtids, unlogged=self.options.binary_log),
                )
                yield feed
                feed.flush()
                binlog.stdin.close()
                watch.wait(binlog, stalled)
                binlog.finish()
            except BrokenPipeError:
                _say_who(binlog, mysql)
            except ProcessError as error:
                if error.program == binlog.name:
                    _say_who(binlog, mysql)
                raise
            end.close()
            watch.wait(mysql, stalled)
            mysql.finish()

    @contextlib.contextmanager
    def _mysql(self, source: int, watch: Watch) -> Iterator[Child]:
        settings = f"sql_log_bin = {int(self.options.binary_log)}, wait_timeout = 86400, {watch.init_command}"
        argv = [
            "--comments" if self.comments else "--skip-comments",
            "--binary-mode",
            "--batch",
            "--default-character-set=utf8mb4",
            "--local-infile=1",
        ]
        argv += ["--max-allowed-packet=1G", f"--init-command=SET SESSION {settings}"]
        with (
            client.logged_in(self._client, self.login) as (login, fds),
            Child([*login, *argv], stdin=source, stdout=-3, pass_fds=fds, name="mysql") as child,
        ):
            yield child


def _say_who(binlog: Child, mysql: Child) -> None:
    """Raise what the program says that ended first."""
    pidfd = os.pidfd_open(mysql.pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        ended = bool(poll.poll(END_SECONDS * 1000))
    finally:
        os.close(pidfd)
    if ended:
        mysql.finish()
        raise ProcessError("mysql", "ended before it had read everything", mysql.stderr)
    binlog.finish()
    raise ProcessError("mysqlbinlog", "ended before it had read everything", binlog.stderr)


# ---- a run ----------------------------------------------------------------------------------------------------------


class _Run:
    def __init__(self, job: Replay, session: _Session, marker: markers.Marker) -> None:
        self._job = job
        self._session = session
        self._marker = marker
        self.result = ReplayResult(gtids=marker.gtids)
        self._executed = GtidSet()
        self._refused: set[tuple[str, int]] = set()
        """Where statements about accounts lie that the target refused: they are left out."""
        self._told = time.monotonic()

    def run(self) -> ReplayResult:
        started = time.monotonic()
        while not self._run():
            pass
        self.result.seconds = time.monotonic() - started
        self._finish()
        return self.result

    def _run(self) -> bool:
        """From the marker on; False when it has to go on behind a statement about accounts that the target refused."""
        before = deepcopy(self.result)
        self._executed = _executed(self._session.login) if self._marker.gtids == "kept" else GtidSet()
        try:
            with self._session.feed(self._marker.gtids) as feed:
                for found in transactions(self._job, self._marker.log, self._marker.place):
                    if isinstance(found, OpenLog):
                        feed.open_log(found)
                    else:
                        self._one(feed, found)
        except ProcessError as error:
            if _code(error) in ACCOUNT_ERRORS and self._leaves_out(error, before):
                return False
            raise self._explained(error) from error
        return True

    def _leaves_out(self, error: ProcessError, before: ReplayResult) -> bool:
        """Whether it is a statement about accounts that the target refused: then the next pass begins with it."""
        marker = markers.read(self._session.login, self._session.options.key) or self._marker
        found = self._first_open(marker)
        if found is None or not manages_accounts(found.transaction):
            return False
        what = kind_of_statement(found.transaction)
        words = error.stderr.strip().partition("\n")[0]
        log.warning("replay: left out, for the accounts that were restored hold it: %s (%s): %s", what, found, words)
        self.result = before  # what was fed behind it was not applied
        for one in transactions(self._job, self._marker.log, self._marker.place):
            if isinstance(one, Found) and not self._is_executed(one):
                if (one.log.name, one.transaction.start) == (found.log.name, found.transaction.start):
                    break
                self._counted(one)
        self._refused.add((found.log.name, found.transaction.start))
        self._marker = replace(marker, state="done", log=found.log.name, place=found.transaction.start)
        return True

    def _one(self, feed: Feed, found: Found) -> None:
        if not self._is_executed(found):
            (feed.leave_out if self._counted(found) else feed.apply)(found)
            self._tell(found)

    def _is_executed(self, found: Found) -> bool:
        gtid = found.transaction.gtid
        return isinstance(gtid, MySqlGtid) and gtid in self._executed

    def _counted(self, found: Found) -> bool:
        """Whether it is left out; counts it."""
        transaction, result, options = found.transaction, self.result, self._session.options
        reason = left_out(
            transaction, skip_accounts=options.skip_accounts, databases=options.databases, where=str(found)
        )
        if (found.log.name, transaction.start) in self._refused:
            reason = "accounts"
        if reason:
            result.left_out += 1
            if len(result.skipped) < SKIPPED_KEPT:
                result.skipped.append(f"{reason}: {kind_of_statement(transaction)} ({found})")
            return True
        result.transactions += 1
        result.bytes += transaction.end - transaction.start
        gtid = str(transaction.gtid) if transaction.gtid else None
        result.last = Applied(gtid, transaction.at, found.log.name, transaction.end)
        return False

    def _tell(self, found: Found) -> None:
        now = time.monotonic()
        if now - self._told >= EVERY_SECONDS:
            self._told = now
            done, total = human_bytes(self.result.bytes), human_bytes(self._job.size)
            log.info("replay: %s of %s, %d transactions, %s", done, total, self.result.transactions, found)

    def _finish(self) -> None:
        last = self._job.logs[-1]
        end = self._job.stop
        if end is None:
            end = last.stat().st_size
        if self._marker.gtids == "own":
            markers.move(self._session.login, self._session.options.key, "done", last.name, end)
        log.info(
            "replay: %d transactions in %.1f s, %d left out; last %s",
            self.result.transactions,
            self.result.seconds,
            self.result.left_out,
            self.result.last,
        )

    def _explained(self, error: ProcessError) -> BackupError:
        """The error with the transaction that it is about."""
        code = _code(error)
        if code is None or code in _PASSING:
            return error
        with contextlib.suppress(BackupError):  # the server may be gone: its first words are enough
            if (found := self._next()) is not None:
                return PermanentError(
                    f"The target {self._session.login.address} refused the transaction {found}: {error.stderr.strip()}"
                )
        return PermanentError(str(error))

    def _next(self) -> str | None:
        """The first transaction that the target has not applied."""
        marker = markers.read(self._session.login, self._session.options.key) or self._marker
        found = self._first_open(marker)
        return None if found is None else str(found)

    def _first_open(self, marker: markers.Marker) -> Found | None:
        """The first transaction behind the marker that the target has not applied and is to apply; for its places."""
        options = self._session.options
        executed = _executed(self._session.login) if marker.gtids == "kept" else GtidSet()
        for found in transactions(self._job, marker.log, marker.place):
            if isinstance(found, OpenLog):
                continue
            known = isinstance(found.transaction.gtid, MySqlGtid) and found.transaction.gtid in executed
            if not known and not left_out(
                found.transaction, skip_accounts=options.skip_accounts, databases=options.databases, where=str(found)
            ):
                return found
        return None


def _executed(login: DatabaseLogin) -> GtidSet:
    with server.connect(login) as connection:
        return GtidSet.parse(str(connection.value("SELECT @@GLOBAL.gtid_executed")))


def _code(error: ProcessError) -> int | None:
    match = _ERROR_CODE.search(error.stderr) if error.program == "mysql" else None
    return int(match[1]) if match else None


# ---- after an interruption ------------------------------------------------------------------------------------------


def _settle(job: Replay, session: _Session, marker: markers.Marker) -> markers.Marker:
    """Bring the statement to its end that an interruption hit: nobody saw whether the server had executed it.

    It is tried once more; a server that says it is there already, or gone already, had.

    Raises:
        PermanentError: trying again could apply it twice; says how a person settles it.
    """
    for found in transactions(job, marker.log, marker.place):
        if isinstance(found, Found):  # the file stays open while it is settled
            return _settle_one(session, found, marker)
    raise PermanentError(f"The replay was begun at {marker.log}:{marker.place}, where these logs have no transaction.")


def _settle_one(session: _Session, found: Found, marker: markers.Marker) -> markers.Marker:
    key, name, end = session.options.key, found.log.name, found.transaction.end
    if not _may_try_again(found, nature(found), session.flavour):
        undone = markers.update(key, "start", name, marker.place)
        done = markers.update(key, "done", name, end)
        raise PermanentError(
            f"An interruption hit the transaction {found}, which can't be tried twice. Look whether the target has it, "
            f"then execute there: {done} if it has; {undone} if it has not. Or restore anew."
        )
    log.info("replay: the transaction %s was begun and perhaps applied: trying it again", found)
    try:
        with session.feed("own") as feed:
            feed.open_log(found.log)
            feed.apply(found)
    except ProcessError as error:
        if _code(error) not in _DONE_ALREADY:
            raise
        log.info("replay: it was applied: %s", error.stderr.strip())
        markers.move(session.login, key, "done", name, end)
    return markers.Marker("done", name, end, marker.gtids)


def _may_try_again(found: Found, what: Nature, flavour: Flavour) -> bool:
    if what == "statement":
        return not any(_TWICE_IS_NOT_ONCE.search(text) for text in whole_statements(found))
    return what == "prepare" or (what == "create" and flavour == "mysql")
