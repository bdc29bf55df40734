"""What a person asks of a failover: its parameters, and what is wrong with them."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from spoqplus_backup.core.dr.server import dr_settings
from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.settings import Settings

Mode = Literal["rehearsal", "failover"]
MODES: tuple[Mode, ...] = ("rehearsal", "failover")
MOST_CHARACTERS = 500

_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")


class FailoverRequest(Model):
    """What was asked for, checked."""

    mode: Mode
    reason: str
    region: str


def validate_request(settings: Settings, params: Mapping[str, Any], *, scheduled: str | None = None) -> FailoverRequest:
    """Check the parameters of a run; the REST API lets through what the form would not.

    Args:
        settings: the site.
        params: of the run.
        scheduled: why it began by itself: it is a rehearsal then, whatever it says; None: a person started it.

    Raises:
        SettingsError: one sentence that names the parameter and the remedy.
    """
    dr = dr_settings(settings)
    if unknown := sorted(set(params) - set(FailoverRequest.model_fields)):
        known = ", ".join(FailoverRequest.model_fields)
        raise SettingsError(f"The parameter {unknown[0]} is wrong: there is no such parameter; there are {known}.")
    if scheduled is not None:
        return FailoverRequest(mode="rehearsal", reason=scheduled, region=dr.region)
    mode, reason, region = (params.get(name) for name in ("mode", "reason", "region"))
    if mode not in MODES:
        raise SettingsError(f"The parameter mode is {mode!r}: choose of {', '.join(MODES)}.")
    if not isinstance(reason, str) or not reason.strip():
        raise SettingsError(
            "The parameter reason is empty: write why, for those who approve it and those who ask later."
        )
    if len(reason) > MOST_CHARACTERS:
        raise SettingsError(f"The parameter reason has {len(reason)} characters: {MOST_CHARACTERS} are enough.")
    region = region or dr.region
    if not isinstance(region, str) or not _REGION.fullmatch(region):
        raise SettingsError(f"The parameter region is {region!r}: write a region of AWS such as {dr.region}.")
    return FailoverRequest(mode=mode, reason=" ".join(reason.split()), region=region)
