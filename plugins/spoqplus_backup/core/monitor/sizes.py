"""How large the components of a backup usually are: what a new one is compared with."""

from statistics import median

from spoqplus_backup.core.monitor.model import SiteFacts
from spoqplus_backup.core.repository.set_details import ComponentDetails

LEAST = 3  # sets before the newest that make a history


def usual_bytes(facts: SiteFacts, cadence: str) -> dict[str, int]:
    """The median of what each component of the newest set had in the sets before it.

    An archive of what changed since another set has no usual size, nor has what came up less than `LEAST` times.
    """
    sets = [item.details for item in facts.sets.get(cadence, ()) if item.details is not None]
    if not sets:
        return {}
    found = {}
    for component in filter(_is_whole, sets[0].components):
        before = [
            other.stored_bytes
            for details in sets[1:]
            for other in details.components
            if other.name == component.name and _is_whole(other)
        ]
        if len(before) >= LEAST:
            found[component.name] = int(median(before))
    return found


def _is_whole(component: ComponentDetails) -> bool:
    return component.base is None
