"""The approvals of a failover: two people, one page. And whether what stands behind them may change something."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.exceptions import HITLRejectException, HITLTimeoutError
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowFailException

from spoqplus_backup.core.errors import PermanentError
from spoqplus_backup.messages import text
from spoqplus_backup.operators.base import remember
from spoqplus_backup.operators.notify import tell_failover_approval
from spoqplus_backup.operators.restore import APPROVE

if TYPE_CHECKING:
    from airflow.sdk import Context

    from spoqplus_backup.core.settings import Settings

ASSESS = "assess"
APPROVALS = ("approve_first", "approve_second")


class ApproveFailoverOperator(ApprovalOperator):
    """Asks a person, who reads the page; the second one has to be somebody else. Nobody's silence is an answer.

    :param site: the site's name; its settings are read when the task runs.
    :param first_task_id: the approval before this one; None for the first.
    """

    ui_color = "#fff4d6"

    def __init__(self, *, site: str, first_task_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(fail_on_reject=True, **kwargs)
        self.site = site
        self.first_task_id = first_task_id

    def execute(self, context: "Context") -> Any:
        """Tell Slack, and ask."""
        tell_failover_approval(context, self._settings, first=self.first_task_id is None)
        return super().execute(context)

    def execute_complete(self, context: "Context", event: dict[str, Any]) -> Any:
        """The answer; whatever it is but a second yes of another person, nothing is changed and the run says so."""
        language = self._settings.language
        try:
            answer = super().execute_complete(context, event)
        except HITLTimeoutError as error:
            hours = f"{self._approval_hours:g}"
            raise self._refused(context, text(language, "dr.error.not_answered", hours=hours)) from error
        except HITLRejectException as error:
            user = user_of(event) or {"name": "?"}
            raise self._refused(context, text(language, "dr.error.refused", user=user["name"])) from error
        first = context["ti"].xcom_pull(task_ids=self.first_task_id) if self.first_task_id else None
        if self.first_task_id is not None and not differ(first, answer):
            user = user_of(answer) or {"name": "?"}
            raise self._refused(context, text(language, "dr.error.same_person", user=user["name"]))
        return answer

    @property
    def _settings(self) -> "Settings":
        from spoqplus_backup.sites import site

        return site(self.site)

    @property
    def _approval_hours(self) -> float:
        dr = self._settings.dr
        return dr.approval_hours if dr else 0

    def _refused(self, context: "Context", words: str) -> AirflowFailException:
        remember(context, PermanentError(words))
        return AirflowFailException(words)


def user_of(answer: Mapping[str, Any] | None) -> dict[str, str] | None:
    """Who answered; None when Airflow does not know."""
    return (answer or {}).get("responded_by_user") or None


def differ(first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> bool:
    """Whether two people answered: both are known, and are not one."""
    users = [user_of(answer) for answer in (first, second)]
    return all(users) and len({user["id"] for user in users if user}) == len(users)


def assessed(context: "Context", settings: "Settings") -> dict[str, Any]:
    """What the run's assessment found, which has to be of a failover.

    Raises:
        PermanentError: there is none, or it is a rehearsal's.
    """
    found = context["ti"].xcom_pull(task_ids=ASSESS)
    if not found:
        raise PermanentError(text(settings.language, "dr.error.no_assessment"))
    if found["mode"] != "failover":
        raise PermanentError(text(settings.language, "dr.error.rehearsal"))
    return dict(found)


def check_agreed(context: "Context", settings: "Settings", found: Mapping[str, Any]) -> None:
    """Raise `PermanentError` unless two different people agreed to this very assessment."""
    answers = [context["ti"].xcom_pull(task_ids=name) for name in APPROVALS]
    if any(not answer or answer["chosen_options"] != [APPROVE] for answer in answers):
        raise PermanentError(text(settings.language, "dr.error.not_approved"))
    if not differ(*answers):
        raise PermanentError(
            text(settings.language, "dr.error.same_person", user=(user_of(answers[1]) or {}).get("name"))
        )
    if any(answer["responded_at"] < datetime.fromisoformat(found["made_at"]) for answer in answers):
        raise PermanentError(text(settings.language, "dr.error.other_page"))


def approvers(context: "Context") -> list[str]:
    """The names of who agreed."""
    users = [user_of(context["ti"].xcom_pull(task_ids=name)) for name in APPROVALS]
    return [user["name"] for user in users if user]
