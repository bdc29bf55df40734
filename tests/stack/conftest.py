"""One deployment for all of these tests; it goes whatever happens."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stack import engine
from stack.deployed import Deployment

LOGS = engine.ROOT / "build" / "stack-logs"


@pytest.fixture(scope="session")
def images(pytestconfig: pytest.Config) -> list[engine.Image]:
    """The images, present or pulled; says what they are."""
    found = [engine.find_image(name) for name in engine.IMAGES]
    reporter = pytestconfig.pluginmanager.getplugin("terminalreporter")
    for image in found:
        reporter.write_line(f"\nimage: {image}")
    return found


@pytest.fixture(scope="session")
def stack(
    images: list[engine.Image], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Deployment]:
    """`make up DEMO=1`."""
    engine.remove_leftovers()
    folder = Path(tmp_path_factory.mktemp("stack"))
    deployment = Deployment(folder)
    for name, setting in engine.IMAGES.items():
        if setting:
            deployment.project.env[setting] = name
    failed = request.session.testsfailed
    try:
        deployment.start()
        yield deployment
    finally:
        for project in filter(None, (deployment.project, deployment.second)):
            project.keep_logs(LOGS)
        deployment.remove()
        if request.session.testsfailed > failed:
            print(f"What the containers said is in {LOGS}.")
