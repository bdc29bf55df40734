"""The parameters of a failover, which the first task checks: the REST API does not. And what else it reads."""

from pathlib import Path
from typing import Any

import pytest

from spoqplus_backup.core.dr.health import health_checks
from spoqplus_backup.core.dr.request import validate_request
from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.core.settings import Settings
from support.dr import dr_settings_of

GIVEN = {"mode": "failover", "reason": " Seoul is\n gone ", "region": "ap-northeast-1"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return dr_settings_of(tmp_path_factory.mktemp("site"))


def test_what_is_right(settings: Settings) -> None:
    request = validate_request(settings, GIVEN)
    assert (request.mode, request.reason, request.region) == ("failover", "Seoul is gone", "ap-northeast-1")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"reason": "  "}, "reason is empty"),
        ({"reason": None}, "reason is empty"),
        ({"reason": 7}, "reason is empty"),
        ({"reason": "x" * 501}, "501 characters"),
        ({"mode": "fail over"}, "'fail over': choose of rehearsal, failover"),
        ({"mode": None}, "None: choose of"),
        ({"region": "Tokyo"}, "'Tokyo': write a region of AWS such as ap-northeast-1"),
        ({"regoin": "ap-northeast-1"}, "regoin is wrong: there is no such parameter; there are mode, reason, region"),
    ],
)
def test_what_is_wrong_is_named(settings: Settings, given: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        validate_request(settings, GIVEN | given)


def test_a_scheduled_run_is_a_rehearsal_whatever_it_says(settings: Settings) -> None:
    request = validate_request(settings, {"mode": "failover", "reason": ""}, scheduled="it is due")
    assert (request.mode, request.reason) == ("rehearsal", "it is due")


def test_a_site_without_dr_says_so() -> None:
    site: Any = Settings.model_validate({"encryption": {"scheme": "openssl"}, "signing": {"public_key_files": ["k"]}})
    with pytest.raises(SettingsError, match="`dr`"):
        validate_request(site, GIVEN)


def test_the_example_of_health_checks_is_one(tmp_path: Path) -> None:
    checks = Path(__file__).resolve().parents[4] / "include" / "health"
    settings = dr_settings_of(tmp_path, health={"checks": [str(checks)]})
    assert health_checks(settings) == ["members_are_there", "payments_are_recent", "login_page"]
