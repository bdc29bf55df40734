"""`spoqplus-backup`: look at backups and restore them from a shell, with the same core but without Airflow.

Credentials come from `AIRFLOW_CONN_<ID>` variables, settings from the same files as the DAGs'. The exit status is 0
when all is well, 1 when something is wrong, 2 for a wrong call.
"""

import argparse
import gc
import json
import logging
import sys
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from socket import gethostname
from typing import NamedTuple
from zoneinfo import ZoneInfo

from spoqplus_backup.core.archive.incremental import ref_problems
from spoqplus_backup.core.confine import confine
from spoqplus_backup.core.connections import Connections, EnvironmentConnections
from spoqplus_backup.core.crypto import generate_signing_key, key_fingerprint
from spoqplus_backup.core.doctor.look import checkup
from spoqplus_backup.core.doctor.model import Checkup, wrong
from spoqplus_backup.core.errors import AbsentError, BackupError, PermanentError, SettingsError
from spoqplus_backup.core.files.face_check import shared_problems
from spoqplus_backup.core.manifest import Component, Manifest, Part
from spoqplus_backup.core.mysql.dump import dump
from spoqplus_backup.core.mysql.statements import KINDS
from spoqplus_backup.core.progress import human_bytes, human_seconds
from spoqplus_backup.core.proof.model import Proof
from spoqplus_backup.core.proof.store import past_proofs, proved_sets
from spoqplus_backup.core.publish import publish
from spoqplus_backup.core.recovery.archived import ArchivedLogs
from spoqplus_backup.core.recovery.files.leftovers import drop_files
from spoqplus_backup.core.recovery.files.listing import file_line, files_of
from spoqplus_backup.core.recovery.files.steps import kept_aside, restore_files, set_ownership
from spoqplus_backup.core.recovery.find import LIMIT, Effort, find_in_first, read_search
from spoqplus_backup.core.recovery.keeping import release_sets
from spoqplus_backup.core.recovery.place import is_starting, rebuild_server, start_rebuilt
from spoqplus_backup.core.recovery.plan import RestorePlan, load_plan
from spoqplus_backup.core.recovery.planning import make_plan
from spoqplus_backup.core.recovery.request import RestoreRequest, validate_request
from spoqplus_backup.core.recovery.restore import fetch, load_set, roll_forward, safety_preflight, verify_restored
from spoqplus_backup.core.recovery.single_tables import compare_with_now, copy_out
from spoqplus_backup.core.recovery.undo import undo
from spoqplus_backup.core.recovery.windows import fulls, windows
from spoqplus_backup.core.repository.base import Repository
from spoqplus_backup.core.repository.binlogs import BinlogCatalog
from spoqplus_backup.core.repository.catalog import SAFETY, Catalog
from spoqplus_backup.core.repository.details import Described, described
from spoqplus_backup.core.repository.details_cache import DetailsCache
from spoqplus_backup.core.repository.holds import hold, holds, is_held, release, who
from spoqplus_backup.core.repository.leases import all_leases
from spoqplus_backup.core.repository.opener import open_all, open_repository
from spoqplus_backup.core.repository.removal import open_remover
from spoqplus_backup.core.repository.survey import Survey
from spoqplus_backup.core.retention.deleting import carry_out
from spoqplus_backup.core.retention.planning import forget_run, plan_repository
from spoqplus_backup.core.run import ACCOUNTS, DATABASE, BackupRun, StageSummary, component_names
from spoqplus_backup.core.settings import (
    Settings,
    check_beside,
    check_dr,
    check_settings,
    load_settings,
    settings_files,
)
from spoqplus_backup.core.stages import STORE_THREADS, compress, encrypt, in_parallel, upload, verify
from spoqplus_backup.doctor_text import as_json as as_object
from spoqplus_backup.doctor_text import checkup_text
from spoqplus_backup.list_text import Columns, as_json, last_test_line, proved_line, total_line
from spoqplus_backup.message_files import LANGUAGES
from spoqplus_backup.messages import Language, text
from spoqplus_backup.plan_text import differences_markdown, effort_line, local_time, plan_markdown, window_lines
from spoqplus_backup.retention_text import plan_markdown as plan_markdown_of_retention
from spoqplus_backup.retention_text import report_markdown

COLLECT_AFTER = 100_000  # new objects; a page of a listing has thousands, and to look through all takes as long as four
GENERATION = 0  # nothing is ever cleared here: a restore that is resumed goes on
SIGNING_KEY, SIGNING_PUB = "signing.key", "signing.pub"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status."""
    confine()
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s")
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except BackupError as error:
        print(f"spoqplus-backup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("spoqplus-backup: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="spoqplus-backup", description=__doc__)
    parser.add_argument("--config", type=Path, help="the site's file (default: SPOQPLUS_BACKUP_CONFIG)")
    parser.add_argument("--site", help="which site, when there are several files")
    parser.add_argument("--verbose", action="store_true", help="say what is being done")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser("check-config", help="check every site's file, its paths, keys and connections")
    check.add_argument("--restore", action="store_true", help="also what only a machine that restores needs")
    check.set_defaults(command=check_config)

    doctor = commands.add_parser("doctor", help="look at the installation: keys, tools, servers, room, clocks, rights")
    doctor.add_argument("--restore", action="store_true", help="of a machine that restores")
    doctor.add_argument("--language", choices=LANGUAGES, help="(default: the site's)")
    doctor.add_argument("--json", action="store_true", help="one JSON object for each site")
    doctor.set_defaults(command=examine)

    listing = commands.add_parser("list", help="list the backups, oldest first: copies, media, off-site, 3-2-1 rule")
    listing.add_argument("--cadence", help="only these, such as daily or safety")
    listing.add_argument("--repository", help="only this one's")
    listing.add_argument("--newest", type=int, metavar="N", help="only the newest N")
    listing.add_argument(
        "--details", action="store_true", help="read and prove every manifest that was not read before: size, contents"
    )
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    listing.set_defaults(command=list_sets)

    show = commands.add_parser("show", help="show what a backup holds")
    _add_set(show)
    show.add_argument("--json", action="store_true", help="print the manifest itself")
    show.set_defaults(command=show_set)

    verifying = commands.add_parser("verify", help="check signature, chain and every object of a backup")
    _add_set(verifying)
    verifying.add_argument("--read", action="store_true", help="read every object back, whatever the server says of it")
    verifying.set_defaults(command=verify_set)

    restore = commands.add_parser("restore", help="restore a backup; asks before it touches production")
    _add_restore(restore)
    restore.set_defaults(command=restore_set)

    files = commands.add_parser("files", help="list the files of a backup's component, with all that it stands on")
    _add_set(files)
    files.add_argument("component", help="such as uploads")
    files.add_argument("pattern", nargs="*", help="only these; * goes across folders")
    files.add_argument("--deleted", action="store_true", help="also what was deleted since the full archive")
    files.set_defaults(command=list_files)

    reachable = commands.add_parser("windows", help="list the points in time that each full backup and its logs reach")
    reachable.add_argument("--repository", help="only this one's")
    reachable.set_defaults(command=list_windows)

    finding = commands.add_parser("find", help="list the transactions that changed a table, from the archived logs")
    finding.add_argument("--table", dest="tables", action="append", required=True, metavar="DATABASE.TABLE")
    finding.add_argument("--kind", default="delete,drop,truncate", help=f"of {','.join(KINDS)} (default: %(default)s)")
    finding.add_argument("--since", metavar="TIME", help="such as 2026-01-31T14:00+09:00")
    finding.add_argument("--until", metavar="TIME", help="the same")
    finding.add_argument("--limit", type=int, default=LIMIT, help="show no more (default: %(default)s)")
    finding.add_argument("--oldest-first", action="store_true", help="begin with the oldest")
    finding.add_argument("--repository", help="the one to look in (default: the first that has logs)")
    finding.set_defaults(command=find_transactions)

    _add_retention(commands)

    keys = commands.add_parser("keys", help="make keys").add_subparsers(required=True, metavar="COMMAND")
    generate = keys.add_parser("generate", help="make a pair of signing keys in a folder")
    generate.add_argument("folder", type=Path)
    generate.set_defaults(command=generate_keys)
    return parser


def _add_retention(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    cleaning = commands.add_parser("retention", help="delete what no rule keeps; asks before much goes")
    cleaning.add_argument("--repository", help="only in this one")
    cleaning.add_argument("--dry-run", action="store_true", help="only show the plan")
    cleaning.add_argument("--yes", action="store_true", help="do not ask when more goes than retention.maximum_share")
    cleaning.set_defaults(command=clean_up)

    holding = commands.add_parser("hold", help="keep a backup, whatever the rules say")
    holding.add_argument("backup", help="latest, a day (YYYYMMDD), or a set such as daily/20250101_030000")
    holding.add_argument("--reason", required=True, help="why, for whoever finds the hold in a year")
    holding.set_defaults(command=hold_set)

    releasing = commands.add_parser("release", help="let a held backup go the way of its rules again")
    releasing.add_argument("backup", help="a set such as daily/20250101_030000")
    releasing.set_defaults(command=release_set)

    held = commands.add_parser("holds", help="list the holds, and the leases of sets that are in use")
    held.add_argument("--repository", help="only this one's")
    held.set_defaults(command=list_holds)


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("backup", help="latest, a day (YYYYMMDD), or a set such as daily/20250101_030000")
    parser.add_argument("--repository", help="the one to look at (default: all that have it)")


def _add_restore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--environment", choices=("test", "production"), default="test")
    parser.add_argument("--backup", default="latest", help="latest, a day (YYYYMMDD), or a set's name")
    parser.add_argument("--repository", help="where to take it from (default: the first that has it)")
    parser.add_argument("--components", nargs="+", metavar="NAME", help="what to restore (default: database)")
    parser.add_argument("--everything", action="store_true", help="all components that the backup has")
    parser.add_argument("--tables", nargs="+", metavar="DATABASE.TABLE", help="only these")
    parser.add_argument("--paths", nargs="+", metavar="PATTERN", help="only these files of one component")
    parser.add_argument("--target-root", metavar="FOLDER", help="files below another root than the original one")
    parser.add_argument("--into-schema", metavar="NAME", help="under another schema name")
    point = parser.add_mutually_exclusive_group()
    point.add_argument("--to-time", metavar="TIME", help="roll forward to 2026-01-31T14:05:09+09:00, or latest")
    point.add_argument("--to-gtid", metavar="GTID", help="roll forward to a transaction, with it")
    point.add_argument("--before-gtid", metavar="GTID", help="roll forward to just before a transaction")
    parser.add_argument("--rebuild", action="store_true", help="make the whole server anew; needs restore.rebuild")
    parser.add_argument("--put-back", metavar="RUN", help="undo a restore that failed: what it moved aside is back")
    parser.add_argument("--drop", metavar="RUN", help="remove the files that a restore left aside")
    parser.add_argument("--dry-run", action="store_true", help="only show the plan")
    parser.add_argument("--no-safety-backup", dest="safety_backup", action="store_false", help="save nothing before")
    parser.add_argument("--yes", action="store_true", help="do not ask before production is overwritten")
    parser.add_argument("--resume", metavar="RUN", help="go on with a restore that failed; it printed its name")


def _settings(options: argparse.Namespace) -> Settings:
    if options.config is not None or options.site is None:
        return load_settings(options.config)
    for file in settings_files():
        settings = load_settings(file)
        if settings.site == options.site:
            return settings
    raise SettingsError(f"No configuration file describes the site {options.site}: check SPOQPLUS_BACKUP_CONFIG.")


def check_config(options: argparse.Namespace) -> int:
    """Print every problem of every file."""
    connections = EnvironmentConnections()
    status = 0
    for file in _files(options):
        try:
            settings = load_settings(file)
            problems = check_settings(settings, connections, restoring=options.restore)
            if not options.restore:
                problems += check_beside(settings, connections) + check_dr(settings, connections)
        except SettingsError as error:
            problems = [str(error)]
        for problem in problems:
            print(problem)
        if not problems:
            print(f"{file}: good")
        status = 1 if problems else status
    return status


def examine(options: argparse.Namespace) -> int:
    """Look at each site's installation from here; 1 when something has failed."""
    status = 0
    for file in _files(options):
        language: Language = "en"
        try:
            settings = load_settings(file)
            language = settings.language
            found = checkup(settings, EnvironmentConnections(), restoring=options.restore)
        except SettingsError as error:
            found = Checkup(site=str(file), machine=gethostname(), lines=(wrong("configuration", str(file), error),))
        language = options.language or language
        told = json.dumps(as_object(language, found), ensure_ascii=False)
        print(told if options.json else checkup_text(language, found))
        status = 1 if found.has_failed else status
    return status


def _files(options: argparse.Namespace) -> list[Path]:
    """The configuration files that are meant: the chosen one, that of the chosen site, or all."""
    if options.config is not None:
        return [options.config]
    return settings_files() if options.site is None else [_settings(options).source]


def _repositories(options: argparse.Namespace, settings: Settings, connections: Connections) -> list[Repository]:
    if options.repository is not None:
        return [open_repository(settings, options.repository, connections)]
    return open_all(settings, connections)


def _catalog(settings: Settings, repository: Repository) -> Catalog:
    return Catalog(repository, settings.signing.public_key_files, settings.site)


def list_sets(options: argparse.Namespace) -> int:
    """Print a line for each set: where it is and whether the 3-2-1 rule holds; with details, whether it can be used.

    Listings alone are read, and what is remembered of manifests that were read before.
    """
    gc.set_threshold(COLLECT_AFTER)
    settings = _settings(options)
    catalogs = [_catalog(settings, item) for item in _repositories(options, settings, EnvironmentConnections())]
    survey = Survey(settings, catalogs)
    found = survey.sets(options.cadence)
    if options.newest is not None:
        found = iter(deque(found, maxlen=max(0, options.newest)))
    held, tests = _held(settings, catalogs), _tests(settings, catalogs)
    proved = proved_sets(tests)
    cache = DetailsCache.of(settings)
    by_name = {catalog.repository.name: catalog for catalog in catalogs}
    columns = Columns.of(settings)
    if not options.json:
        print(columns.header())
    counts = Counter(
        _show(columns, item, held.get(item.found.name), proved.get(item.found.name), as_object=options.json)
        for item in described(by_name, cache, found, read=options.details)
    )
    cache.close()
    for name, error in survey.failures.items():
        print(f"{name}: {error}", file=sys.stderr)
    if not options.json:
        print(total_line(settings, counts.total(), counts[True, True] + counts[True, False]))
        print(last_test_line(settings, next(iter(tests), None)))
    unusable = counts[True, False] + counts[False, False]
    return 1 if unusable or survey.failures else 0


def _held(settings: Settings, catalogs: Sequence[Catalog]) -> dict[str, str]:
    """Why each held set is held, in whichever repository says so."""
    found: dict[str, str] = {}
    for catalog in catalogs:
        try:
            found |= holds(catalog.repository, settings.signing.public_key_files)
        except BackupError as error:
            print(f"{catalog.repository.name}: {error}", file=sys.stderr)
    return found


def _tests(settings: Settings, catalogs: Sequence[Catalog]) -> list[Proof]:
    """The newest recovery tests, newest first, from the first repository that has any: each primary has all."""
    for catalog in catalogs:
        try:
            if found := past_proofs(catalog.repository, settings.signing.public_key_files, site=settings.site):
                return found
        except BackupError as error:
            print(f"{catalog.repository.name}: {error}", file=sys.stderr)
    return []


def _show(
    columns: Columns, item: Described, held: str | None, proved: datetime | None, *, as_object: bool
) -> tuple[bool, bool]:
    """Print a set; whether the 3-2-1 rule holds for it, and whether it can be used."""
    if as_object:
        proved_at = None if proved is None else proved.isoformat()
        print(json.dumps(as_json(item) | {"hold": held, "proved_at": proved_at}, ensure_ascii=False))
    else:
        print(columns.line(item))
    language = columns.settings.language
    if held and not as_object:
        print(f"    {text(language, 'list.held', words=held)}")
    if proved and not as_object:
        print(f"    {proved_line(columns.settings, proved)}")
    problem = item.problem or (text(language, "list.differs") if item.found.differs else None)
    if problem and not as_object:
        print(f"    {text(language, 'list.unusable', problem=problem)}")
    return item.found.holds, problem is None


def _size(manifest: Manifest) -> str:
    if manifest.binlog_range is not None:
        stored, raw = _log_bytes(manifest)
        return f"{human_bytes(stored)} stored, {human_bytes(raw)} of binary logs"
    return f"{human_bytes(manifest.stored_bytes)} stored, {human_bytes(manifest.raw_bytes)} before compression"


def _log_bytes(manifest: Manifest) -> tuple[int, int]:
    return sum(ref.stored_bytes for ref in manifest.binlogs), sum(ref.raw_bytes for ref in manifest.binlogs)


def _covers(manifest: Manifest) -> str:
    transactions = sum(ref.transactions for ref in manifest.binlogs)
    return f"{len(manifest.binlogs)} logs, {transactions:,} transactions"


class _Copies(NamedTuple):
    """A set in the repositories that have it; those that lack it, and how many can't tell or can't be believed."""

    found: list[tuple[Repository, Manifest]]
    lacking: list[Repository]
    failures: int


def _find(options: argparse.Namespace, settings: Settings) -> _Copies:
    """The set in every repository that has it; `latest` is the newest of the first one.

    Raises:
        PermanentError: none has it in a state that can be trusted.
    """
    found: list[tuple[Repository, Manifest]] = []
    absent: dict[Repository, AbsentError] = {}
    failures = 0
    for repository in _repositories(options, settings, EnvironmentConnections()):
        wanted = found[0][1].name if found else options.backup
        try:
            found.append((repository, _catalog(settings, repository).resolve(wanted)))
        except AbsentError as error:  # as its retention may have left it
            absent[repository] = error
        except BackupError as error:
            print(f"{repository.name}: {error}", file=sys.stderr)
            failures += 1
    if not found:
        for repository, missing in absent.items():
            print(f"{repository.name}: {missing}", file=sys.stderr)
        raise PermanentError(f"No repository has a usable backup {options.backup}: see above.")
    return _Copies(found, list(absent), failures)


def show_set(options: argparse.Namespace) -> int:
    """Print what a set holds."""
    settings = _settings(options)
    repository, manifest = _find(options, settings).found[0]
    if options.json:
        print(manifest.to_json().decode(), end="")
        return 0
    zone = ZoneInfo(settings.timezone)
    at = manifest.server.coordinates
    facts = {
        "backup": manifest.name,
        "repository": repository.url,
        "started": f"{manifest.started_at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}",
        "finished": f"{manifest.finished_at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}",
        "server": f"{manifest.server.flavour} {manifest.server.version}, id {manifest.server.id}",
        "coordinates": f"{at.file or '-'} {at.position or '-'} {at.gtid or ''}".strip(),
        "size": _size(manifest),
        "encryption": f"{manifest.encryption.scheme} {' '.join(manifest.encryption.recipients)}".strip(),
        "previous": manifest.previous.id if manifest.previous else "-",
        "tools": ", ".join(f"{name} {version}" for name, version in manifest.tools.items()),
    }
    for name, value in facts.items():
        print(f"{name:<12}  {value}")
    if manifest.binlog_range is not None:
        _show_range(manifest, zone)
    if (point := manifest.recovery_point) is not None and point.complete_until is not None:
        print(f"complete      until {point.complete_until.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}")
    for component in manifest.components:
        print(
            f"component     {component.name}: {len(component.parts)} parts, {human_bytes(component.stored_bytes)} of "
            f"{human_bytes(component.raw_bytes)}{_holds(component)}"
        )
    for warning in manifest.warnings:
        print(f"warning       {warning}")
    return 0


def _holds(component: Component) -> str:
    if component.kind == "files":
        on = f", changed since {component.base}" if component.base else ""
        return f"; {component.files or 0:,} files{on}"
    rows = "" if component.rows is None else f", {component.rows:,} rows"
    counts = ", ".join(f"{count} {kind}" for kind, count in component.counts.model_dump().items() if count)
    return f"{rows}; {counts or 'nothing in it'}"


def _show_range(manifest: Manifest, zone: ZoneInfo) -> None:
    covered = manifest.binlog_range
    assert covered is not None  # noqa: S101 (the caller looked)
    start, end = covered.start, covered.end
    print(f"follows       {covered.after_cadence}/{covered.after}, in timeline {covered.timeline}")
    print(f"covers        {start.file}:{start.position} to {end.file}:{end.position}, {_covers(manifest)}")
    for ref in manifest.binlogs:
        times = [moment.astimezone(zone) for moment in (ref.first_at, ref.last_at) if moment is not None]
        span = " to ".join(f"{moment:%Y-%m-%d %H:%M:%S}" for moment in times) or "nothing was written"
        print(f"log           {ref.key}: {human_bytes(ref.stored_bytes)}, {ref.transactions:,} transactions, {span}")


def verify_set(options: argparse.Namespace) -> int:
    """Print every object that is not as the signed manifest says. That a repository lacks the set is but a note."""
    settings = _settings(options)
    found, lacking, failures = _find(options, settings)
    status = 1 if failures else 0
    good = []
    for repository, manifest in found:
        problems = _damage(repository, manifest, read_back=options.read) + _log_damage(settings, repository, manifest)
        try:
            if remark := _catalog(settings, repository).check_previous(manifest):
                print(f"{repository.name}: note: {remark}")
        except PermanentError as error:
            problems.append(str(error))
        for problem in problems:
            print(f"{repository.name}: {problem}")
        size = human_bytes(manifest.stored_bytes + _log_bytes(manifest)[0])
        verdict = f"{len(problems)} problems" if problems else "good"
        shared = sum(component.shared.count for component in manifest.components if component.shared is not None)
        objects = len(manifest.objects()) + 2 * len(manifest.binlogs) + shared  # each log has its index beside it
        print(f"{repository.name}: {manifest.name}: {verdict} ({objects} objects, {size})")
        if problems:
            status = 1
        else:
            good.append(repository.name)
    for repository in lacking:
        copies = f"there is a good copy in {', '.join(good)}" if good else "there is no good copy anywhere"
        print(f"{repository.name}: note: {found[0][1].name} is not there; {copies}")
    return status


def _log_damage(settings: Settings, repository: Repository, manifest: Manifest) -> list[str]:
    return ref_problems(BinlogCatalog(repository, settings.signing.public_key_files, settings.site), manifest)


def _damage(repository: Repository, manifest: Manifest, *, read_back: bool) -> list[str]:
    def check(item: tuple[str, Part]) -> str | None:
        key, part = item
        try:
            repository.check(f"{manifest.name}/{key}", part.stored_bytes, part.sha256, read_back=read_back)
        except PermanentError as error:
            return str(error)
        return None

    found = in_parallel(check, list(manifest.objects().items()), STORE_THREADS)
    problems = [problem for problem in found if problem is not None]
    try:
        return [*problems, *shared_problems(repository, manifest, read_back=read_back)]
    except PermanentError as error:  # its list can't be read
        return [*problems, str(error)]


def list_files(options: argparse.Namespace) -> int:
    """Print a line for each file, folder and link that a restore would give; 1 when there is none."""
    settings, connections = _settings(options), EnvironmentConnections()
    repository, manifest = _find(options, settings).found[0]
    zone = ZoneInfo(settings.timezone)
    count = 0
    for item in files_of(settings, connections, repository, manifest, options.component, options.pattern):
        if item.deleted and not options.deleted:
            continue
        count += not item.deleted
        print(file_line(item, zone))
    return 0 if count else 1


def list_windows(options: argparse.Namespace) -> int:
    """Print what each repository's full backups reach; 1 when one has no logs, or its logs end too early."""
    settings, connections = _settings(options), EnvironmentConnections()
    status = 0
    for repository in _repositories(options, settings, connections):
        found = windows(ArchivedLogs(settings, connections, repository), fulls(_catalog(settings, repository)))
        print(f"{repository.name} ({repository.url}): {len(found)} full backups")
        for line in window_lines(settings, found):
            print(f"  {line}")
        status = 1 if any(window.problem for window in found) else status
    return status


def find_transactions(options: argparse.Namespace) -> int:
    """Print each transaction as it is found, then how much was read."""
    settings = _settings(options)
    search = read_search(
        options.tables,
        [kind.strip() for kind in options.kind.split(",") if kind.strip()],
        options.since,
        options.until,
        settings.timezone,
        options.limit,
        newest_first=not options.oldest_first,
    )
    effort = Effort()
    for candidate in find_in_first(settings, EnvironmentConnections(), options.repository, search, effort):
        what = ", ".join(
            f"{found.kind} {found.table}" + ("" if found.rows is None else f" {found.rows:,} rows")
            for found in candidate.found
        )
        print(f"{local_time(settings, candidate.at)}  {candidate.point}  {what}  {candidate.statement}", flush=True)
    print(effort_line(settings, effort))
    return 0


def restore_set(options: argparse.Namespace) -> int:
    """Plan, ask, save what will be overwritten, fetch, load, compare."""
    settings, connections = _settings(options), EnvironmentConnections()
    if options.put_back:
        _report(undo(settings, connections, load_plan(settings, options.put_back)))
        return 0
    if options.drop:
        unwanted = load_plan(settings, options.drop)
        dropped = drop_files(settings, unwanted)
        release_sets(settings, connections, unwanted)
        print("\n".join(f"removed {path}" for path in dropped) or f"{options.drop} left nothing.")
        return 0
    plan = load_plan(settings, options.resume) if options.resume else _new_plan(options, settings, connections)
    print(plan_markdown(settings, plan))
    if plan.request.dry_run:
        return 0
    if plan.request.environment == "production" and not (
        options.yes or _agreed("This overwrites production.", settings.site)
    ):
        release_sets(settings, connections, plan)
        print("Nothing was changed.")
        return 1
    print(f"\nIf it fails, go on with: spoqplus-backup restore --resume {plan.run_id}\n", flush=True)
    if plan.request.saves and plan.has_database:
        _save_what_is_there(settings, connections, plan)
    _report(fetch(settings, connections, plan))
    _carry_out(settings, connections, plan)
    return 0


def _carry_out(settings: Settings, connections: Connections, plan: RestorePlan) -> None:
    """Everything behind the fetch: the target changes from here on."""
    if plan.place == "rebuild":
        print(f"If it can't be finished, undo it with: spoqplus-backup restore --put-back {plan.run_id}\n", flush=True)
        if not is_starting(settings, connections, plan):
            _report(rebuild_server(settings, connections, plan))
    if plan.has_database:
        _report(load_set(settings, connections, plan, generation=GENERATION))
    if plan.replay is not None or plan.place == "rebuild":
        _report(roll_forward(settings, connections, plan))
    if plan.place == "sandbox":
        _report(copy_out(settings, connections, plan))
    if plan.files:
        print(f"To put back what was there: spoqplus-backup restore --put-back {plan.run_id}\n", flush=True)
        _report(restore_files(settings, connections, plan, generation=GENERATION))
        _report(set_ownership(settings, plan))
    _report(verify_restored(settings, connections, plan))
    if plan.has_database and (found := compare_with_now(settings, connections, plan)):
        print(differences_markdown(settings, found))
    if kept := kept_aside(settings, plan):
        print(f"Kept aside: {', '.join(kept)}; to remove it: spoqplus-backup restore --drop {plan.run_id}")
    if plan.place == "rebuild":
        _report(start_rebuilt(settings, connections, plan))


def _new_plan(options: argparse.Namespace, settings: Settings, connections: Connections) -> RestorePlan:
    given = {name: getattr(options, name, None) for name in RestoreRequest.model_fields}
    if options.everything:
        given["components"] = _everything(settings, _find(options, settings).found[0][1])
    request = validate_request(settings, given)
    return make_plan(settings, connections, request, f"cli/{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%fZ}")


def _everything(settings: Settings, manifest: Manifest) -> list[str]:
    """What a backup has, once: not the components that are a part of the database, too.

    Raises:
        SettingsError: the site's file does not describe one of them.
    """
    names = [component.name for component in manifest.components]
    files = [component.name for component in manifest.components if component.kind == "files"]
    known = [name for name in component_names(settings) if name in names]
    if unknown := sorted(set(files) - set(known)):
        raise SettingsError(
            f"{settings.source}: `files` does not describe {', '.join(unknown)}, which {manifest.name} has: name it "
            "there with its paths (docs/runbook.md), or say what to restore with --components."
        )
    return [name for name in known if name in (*files, DATABASE, ACCOUNTS)]


def _agreed(what: str, word: str) -> bool:
    try:
        return input(f"\n{what} Type {word} to go on: ").strip() == word
    except EOFError:
        return False


def _save_what_is_there(settings: Settings, connections: Connections, plan: RestorePlan) -> None:
    """The safety backup. A restore that is resumed has the same run id and time, and so finds the one it made."""
    report = safety_preflight(settings, connections, plan, plan.run_id, plan.made_at)
    if report is None:
        print("Nothing is overwritten: no safety backup is needed.")
        return
    run = BackupRun(settings, connections, SAFETY, report.set_id, plan.run_id)
    for component in run.staging.components():
        _report(dump(run, component, generation=GENERATION))
        for step in (compress, encrypt, upload):
            _report(step(run, component))
    _report(verify(run))
    publish(run, report.warnings)
    print(f"What is overwritten was saved as {run.name}.", flush=True)


def _report(summary: StageSummary) -> None:
    detail = ", ".join(f"{name} {value}" for name, value in summary.detail.items() if value is not None)
    print(f"{summary.stage}: {human_seconds(summary.seconds)} ({detail})", flush=True)


def clean_up(options: argparse.Namespace) -> int:
    """Show each repository's plan, ask when much would go, delete, and say what went."""
    settings, connections = _settings(options), EnvironmentConnections()
    run = f"cli/{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%fZ}"
    names = [options.repository] if options.repository else [item.name for item in settings.repositories]
    status = 0
    for name in names:
        try:
            refused = _clean_up_one(options, settings, connections, name, run)
        except BackupError as error:  # the next repository may be well
            print(f"{name}: {error}", file=sys.stderr)
            refused = True
        status = 1 if refused else status
    forget_run(settings, run)
    return status


def _clean_up_one(
    options: argparse.Namespace, settings: Settings, connections: Connections, name: str, run: str
) -> bool:
    """One repository; whether something that should have gone did not."""
    plan = plan_repository(settings, connections, name, run)
    print(plan_markdown_of_retention(settings, name, plan), flush=True)
    if options.dry_run:
        return False
    if plan.needs_approval and not (options.yes or _agreed(f"This deletes {plan.share:.0%} of {name}.", name)):
        print("Nothing was deleted.")
        return True
    report = carry_out(settings, connections, name, plan, run)
    print(report_markdown(settings, [report]), flush=True)
    return bool(report.refused)


def hold_set(options: argparse.Namespace) -> int:
    """Hold a set in every repository."""
    settings, connections = _settings(options), EnvironmentConnections()
    repositories = [open_repository(settings, item.name, connections) for item in settings.repositories]
    name = _name_of(settings, repositories, options.backup)
    made = hold(settings, repositories, name, options.reason, who())
    print(f"{made.set} is held: {made.words}")
    return 0


def _name_of(settings: Settings, repositories: Sequence[Repository], backup: str) -> str:
    """The set that is meant, from the first repository that has it."""
    failure: BackupError | None = None
    for repository in repositories:
        try:
            return _catalog(settings, repository).resolve(backup).name
        except BackupError as error:
            failure = failure or error
    raise failure or PermanentError(f"No repository is configured that could have {backup}.")


def release_set(options: argparse.Namespace) -> int:
    """Release a hold, with the credentials that may delete."""
    settings, connections = _settings(options), EnvironmentConnections()
    removers = [open_remover(settings, item.name, connections) for item in settings.repositories]
    if not is_held(removers, options.backup):
        raise PermanentError(f"{options.backup} is not held: see `spoqplus-backup holds`.")
    release(removers, options.backup)
    print(f"{options.backup} is no longer held.")
    return 0


def list_holds(options: argparse.Namespace) -> int:
    """Print the holds and the leases of each repository."""
    settings = _settings(options)
    zone, now = ZoneInfo(settings.timezone), datetime.now(timezone.utc)
    for repository in _repositories(options, settings, EnvironmentConnections()):
        held = holds(repository, settings.signing.public_key_files)
        used = [lease for lease in all_leases(repository) if lease.is_valid(now)]
        print(f"{repository.name} ({repository.url}): {len(held)} holds, {len(used)} in use")
        for name, words in held.items():
            print(f"  {name:<28}held: {words}")
        for lease in used:
            until = lease.expires_at.astimezone(zone)
            print(f"  {lease.set:<28}{lease.purpose} until {until:%Y-%m-%d %H:%M:%S %Z}, {lease.run}")
    return 0


def generate_keys(options: argparse.Namespace) -> int:
    """Make a signing pair and say where its halves go."""
    private, public = options.folder / SIGNING_KEY, options.folder / SIGNING_PUB
    generate_signing_key(private, public)
    print(f"The signing key {key_fingerprint(public)} is made. In the site's file:")
    print(f"\nsigning:\n  private_key_file: {private.absolute()}\n  public_key_files: [{public.absolute()}]\n")
    print(f"Keep a copy of {public.name} wherever backups are restored; {private.name} stays on the backup host.")
    print("Keys that open backups are age's: make them with age-keygen on the machine that restores, never here.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
