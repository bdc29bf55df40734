"""A message when a run takes longer than was promised and is not over: Airflow's deadline alerts call it.

A deadline fires on runs that have failed, too (https://github.com/apache/airflow/issues/60927): of those nothing is
said, `notify` has told them.
"""

import logging
from typing import Any
from urllib.parse import quote

from airflow.sdk.configuration import conf

from spoqplus_backup.messages import duration, local_time, text
from spoqplus_backup.sites import site

log = logging.getLogger(__name__)

ENDED = ("success", "failed")


def tell_late(site_name: str, hours: float, context: dict[str, Any]) -> None:
    """Called by the executor when a deadline was missed. Slack fails nothing.

    Args:
        site_name: of the DAG.
        hours: what was promised.
        context: Airflow's: `dag_run` as its REST API tells it.
    """
    from spoqplus_backup.notifications.blocks import context as small_print
    from spoqplus_backup.notifications.blocks import header, link, section
    from spoqplus_backup.notifications.message import Message
    from spoqplus_backup.notifications.slack import SlackError, sender

    settings, run = site(site_name), context["dag_run"]
    if run["state"] in ENDED or settings.slack.connection is None:
        log.info("Nothing is told of %s: it is %s", run["dag_run_id"], run["state"])
        return
    language = settings.language
    base = (settings.airflow.url or conf.get("api", "base_url", fallback="http://localhost:8080")).rstrip("/")
    title = text(
        language,
        "slack.deadline",
        site=site_name,
        dag=run["dag_id"].removeprefix(f"{site_name}_"),
        limit=duration(language, hours * 3600),
    )
    started = local_time(str(run["start_date"] or run["run_after"]), settings.timezone)
    url = f"{base}/dags/{run['dag_id']}/runs/{quote(run['dag_run_id'])}"
    blocks = [header(title), section(text(language, "slack.deadline.help", started=started))]
    message = Message(title, [*blocks, small_print(link(url, text(language, "slack.run")))])
    try:
        sender(settings.slack.connection, settings.slack.channel).post(message)
    except SlackError as error:
        log.warning("%s", text(language, "log.slack_failed", error=error))
