"""The message about a recovery test."""

from collections.abc import Sequence

from spoqplus_backup.core.progress import human_bytes
from spoqplus_backup.core.proof.model import CheckResult, Proof
from spoqplus_backup.messages import check_title, duration, notice_text, text
from spoqplus_backup.notifications.blocks import Block, bullets, cut, escape, link
from spoqplus_backup.notifications.frame import Story, framed
from spoqplus_backup.notifications.message import Message
from spoqplus_backup.notifications.report import ERROR_CHARACTERS, RunReport

MOST_CHECKS = 8
HOUR = 3600


def recovery_test_message(report: RunReport, proof: Proof | None, page: str | None = None) -> Message:
    """The verdict and the numbers.

    Args:
        report: how the run ended.
        proof: what was found; None when the run did not get that far.
        page: where the report is: a link, or a place in a repository.
    """
    passed = report.succeeded and proof is not None and proof.verdict == "passed"
    title = text(report.language, f"slack.recovery_test.{'passed' if passed else 'failed'}", site=report.site)
    story = Story(
        title=title,
        summary=proof.backup if passed and proof is not None and proof.backup else "",
        details=_failed_checks(report, proof) if proof is not None else (),
        facts=_facts(report, proof) if proof is not None else (),
        links=_page(report, page),
        cause=None if passed or report.failures else title,
    )
    return framed(report, story)


def _facts(report: RunReport, proof: Proof) -> list[tuple[str, str]]:
    language = report.language
    counts = {name: f"{getattr(proof, name):,}" for name in ("rows", "tables", "files")}
    verdicts = [check.verdict for check in proof.checks]
    pairs = [
        (text(language, "slack.recovery_test.rto"), _against(report, proof.rto_seconds, proof.rto_limit_seconds)),
        (text(language, "slack.rpo"), _against(report, proof.rpo_seconds, proof.rpo_limit_seconds)),
        (
            text(language, "slack.recovery_test.compared"),
            text(language, "slack.recovery_test.amount", size=human_bytes(proof.bytes), **counts),
        ),
        (
            text(language, "slack.recovery_test.checks"),
            text(
                language,
                "slack.recovery_test.counts",
                **{name: verdicts.count(name) for name in ("passed", "failed", "not_run")},
            ),
        ),
    ]
    if proof.backup is not None:
        where = f" ({escape(proof.repository)})" if proof.repository else ""
        pairs.append((text(language, "slack.set"), f"`{escape(proof.backup)}`{where}"))
    if proof.ten_times_seconds is not None:
        pairs.append(
            (text(language, "proof.ten_times"), _against(report, proof.ten_times_seconds, proof.rto_limit_seconds))
        )
    return pairs


def _failed_checks(report: RunReport, proof: Proof) -> list[Block]:
    failed = [check for check in proof.checks if check.verdict == "failed"]
    title = text(report.language, "slack.recovery_test.failed_checks")
    return [bullets(title, _failed(report, failed))] if failed else []


def _against(report: RunReport, seconds: float | None, limit: float) -> str:
    promised = text(report.language, "slack.rto", hours=f"{limit / HOUR:g}")
    if seconds is None:
        return f"⚠️ {text(report.language, 'proof.unmeasured')} ({promised})"
    return f"{'✅' if seconds <= limit else '❌'} {duration(report.language, seconds)} ({promised})"


def _failed(report: RunReport, checks: Sequence[CheckResult]) -> list[str]:
    """Each failed check with its first evidence."""
    lines = []
    for check in checks[:MOST_CHECKS]:
        found = [notice_text(report.language, item.model_dump()) for item in check.evidence[:1]]
        said = ": ".join([check_title(check.title, check.name, report.language), *found])
        lines.append(escape(cut(said, ERROR_CHARACTERS)))
    if (left := len(checks) - MOST_CHECKS) > 0:
        lines.append(text(report.language, "slack.more", count=left))
    return lines


def _page(report: RunReport, page: str | None) -> list[str]:
    if page is None:
        return []
    if page.startswith(("http://", "https://")):
        return [link(page, text(report.language, "slack.recovery_test.report"))]
    return [f"{text(report.language, 'slack.recovery_test.report_at')} `{escape(page)}`"]
