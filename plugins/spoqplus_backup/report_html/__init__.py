"""The report of a recovery test as a page: one file that asks for nothing else, in Korean and English.

It needs no script: the language is switched by two radio buttons and CSS. Its Content-Security-Policy allows one style
sheet, by hash, and nothing more, so that whatever a database put into the evidence stays text.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from spoqplus_backup.core.proof.model import Proof
from spoqplus_backup.messages import Language
from spoqplus_backup.report_html.view import View

FOLDER = Path(__file__).parent


def report_html(proof: Proof, history: Sequence[Proof], language: Language, timezone: str) -> str:
    """The page of a test.

    Args:
        proof: the test.
        history: earlier tests, in any order; the charts show them.
        language: which one is shown first.
        timezone: the site's; its times are shown.
    """
    style = (FOLDER / "page.css").read_text()
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    languages: tuple[Language, ...] = get_args(Language)
    return environment.get_template("page.html.j2").render(
        views=[View(proof, history, item, timezone) for item in languages],
        shown=language,
        style=Markup(style),  # noqa: S704 (a file of ours)
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )
