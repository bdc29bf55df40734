"""What a retention run did."""

from collections.abc import Iterable
from typing import Literal, get_args

from spoqplus_backup.core.manifest import Model

Listed = Literal["sets", "unfinished", "refused", "spared"]


class RetentionReport(Model):
    """What a run deleted from a repository. `bytes` are those that are free now.

    `refused` are the repository's words about what it did not let go, `spared` the sets that somebody began to use or
    hold after the plan was made. `left_out` is how many more there are of each, where the report was shortened.
    """

    repository: str
    url: str
    sets: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    logs: int = 0
    uploads: int = 0
    faces: int = 0
    objects: int = 0
    bytes: int = 0
    refused: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()
    seconds: float = 0.0
    left_out: dict[str, int] = {}

    @property
    def deleted(self) -> int:
        """How many things went."""
        return self.count("sets") + self.count("unfinished") + self.logs + self.uploads + self.faces

    def count(self, name: Listed) -> int:
        """How many there are of what the report lists."""
        return len(getattr(self, name)) + self.left_out.get(name, 0)

    def shortened(self, most: int, characters: int) -> "RetentionReport":
        """With no more than so many of each, and so many characters of each: for XCom."""
        lists = {name: getattr(self, name) for name in get_args(Listed)}
        return self.model_copy(
            update={name: tuple(item[:characters] for item in found[:most]) for name, found in lists.items()}
            | {"left_out": {name: len(found) - most for name, found in lists.items() if len(found) > most}}
        )

    def after(self, earlier: "RetentionReport | None") -> "RetentionReport":
        """Together with what an earlier try of the same run did; what that was refused may have gone since."""
        if earlier is None:
            return self
        return self.model_copy(
            update={
                "sets": _together(earlier.sets, self.sets),
                "unfinished": tuple(
                    name for name in _together(earlier.unfinished, self.unfinished) if name not in earlier.sets
                ),
                "spared": _together(earlier.spared, self.spared),
                **{
                    name: getattr(earlier, name) + getattr(self, name)
                    for name in ("logs", "uploads", "faces", "objects", "bytes", "seconds")
                },
            }
        )


def _together(first: Iterable[str], second: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*first, *second]))
