"""What the doctor says."""

from typing import Literal

from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.notice import Notice, notice

Area = Literal["configuration", "connections", "keys", "tools", "space", "clock", "permissions"]
Status = Literal["ok", "warning", "failed"]


class Line(Model):
    """One thing that was looked at; `name` says which, such as a connection, a field or a program."""

    area: Area
    name: str
    status: Status
    said: Notice


class Checkup(Model):
    """Everything that was looked at, from which machine."""

    site: str
    machine: str
    lines: tuple[Line, ...]

    @property
    def has_failed(self) -> bool:
        """Whether something is wrong."""
        return any(line.status == "failed" for line in self.lines)


def good(area: Area, name: str, said: Notice | None = None) -> Line:
    """Something that is as it should be."""
    return Line(area=area, name=name, status="ok", said=said or notice("doctor.good", "good"))


def doubtful(area: Area, name: str, said: Notice) -> Line:
    """Something that works, and should be otherwise."""
    return Line(area=area, name=name, status="warning", said=said)


def wrong(area: Area, name: str, problem: object) -> Line:
    """Something that has to be put right; an error of ours says how."""
    said = problem if isinstance(problem, Notice) else notice("doctor.problem", "{problem}", problem=problem)
    return Line(area=area, name=name, status="failed", said=said)
