"""Something that a person should know: a sentence, and what it takes to say it in another language.

`words` is what manifests and logs keep. `messages.notice_text` says it in the site's language.
"""

from spoqplus_backup.core.manifest import Model


class Notice(Model):
    """`code` names the sentence, `values` are what was filled into it."""

    code: str
    words: str
    values: dict[str, str] = {}


def notice(code: str, sentence: str, **values: object) -> Notice:
    """Fill a sentence's `{places}`."""
    texts = {name: str(value) for name, value in values.items()}
    return Notice(code=code, words=sentence.format(**texts), values=texts)
