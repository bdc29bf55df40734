"""The numbers of earlier runs, for whoever tunes our side and will not wait for the peers each time."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from bench.contest import OURS, Result, Results
from bench.measure import Usage
from bench.world import World


def write(world: World, case: str, results: Results) -> None:
    """Keep what the peers took."""
    for name, result in results.items():
        if name != OURS:
            path = _path(world, case, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(asdict(result)))


def read(world: World, case: str, names: Iterable[str]) -> Results:
    """What is known of these peers; those that never ran are left out."""
    found: Results = {}
    for name in names:
        path = _path(world, case, name)
        if path.exists():
            content = json.loads(path.read_text())
            found[name] = Result([Usage(**run) for run in content["runs"]], content["stored_bytes"])
    return found


def _path(world: World, case: str, name: str) -> Path:
    return world.folder / "cache" / f"{case}-{name}-{world.megabytes}.json"
