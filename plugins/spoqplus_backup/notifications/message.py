"""A message, whatever way it takes."""

from dataclasses import dataclass, replace
from typing import Any

from spoqplus_backup.notifications.blocks import header


@dataclass(frozen=True)
class Message:
    """A Slack message: Block Kit blocks, and the text that notifications and old clients show instead.

    `cause` says what is wrong, in words that are the same when it is wrong again; None when nothing is. `asks` marks a
    question to a person that a later message of the same run answers.
    """

    text: str
    blocks: list[dict[str, Any]]
    cause: str | None = None
    asks: bool = False

    @property
    def title(self) -> str:
        """What its header says."""
        first = self.blocks[0] if self.blocks else {}
        return str(first["text"]["text"]) if first.get("type") == "header" else self.text

    def with_lines(self, *added: dict[str, Any], title: str | None = None) -> "Message":
        """The same with blocks below its header, and another title."""
        if title is None:
            return replace(self, blocks=[*self.blocks[:1], *added, *self.blocks[1:]])
        return replace(self, text=title, blocks=[header(title), *added, *self.blocks[1:]])
