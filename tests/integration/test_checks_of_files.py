"""The checks of restored files and of keys: of sets that were archived, encrypted and restored for it."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard
from PIL import Image

from spoqplus_backup.core.crypto import OpensslScheme, Scheme
from spoqplus_backup.core.gpg import GpgScheme
from spoqplus_backup.core.manifest import Component, Encryption, Part
from spoqplus_backup.core.proof.checks import uploads
from spoqplus_backup.core.proof.scene import Scene
from spoqplus_backup.core.settings import EnvironmentSettings
from support.connections import FixedConnections
from support.file_sets import FileSite, make_file_site
from support.keys import age_pair, gpg_pair
from support.proof import NOW, bare_plan, fails, make_scene, passes

pytestmark = pytest.mark.integration

UPLOADS = "var/www/html/public/uploads"


@pytest.fixture
def site(tmp_path: Path) -> FileSite:
    """Twelve images and what else people upload."""
    made = make_file_site(tmp_path / "site", recovery_test={"sample": 5})
    folder = made.source / UPLOADS
    (folder / "2026").mkdir(parents=True)
    for number in range(12):
        colour = (20 * number, 99, 255 - 20 * number)
        Image.effect_noise((60, 40), 50).convert("RGB").save(folder / "2026" / f"{number}.{('jpg', 'PNG')[number % 2]}")
        Image.new("RGB", (9, 9), colour).save(folder / f"small {number}.gif")
    (folder / "약관.pdf").write_bytes(b"%PDF" * 1000)
    (folder / "link.jpg").symlink_to("2026/0.jpg")
    (folder / "again.pdf").hardlink_to(folder / "약관.pdf")
    return made


def images_of(site: FileSite) -> list[Path]:
    found = (site.source / UPLOADS).rglob("*")
    return [path for path in found if path.suffix in (".jpg", ".PNG", ".gif") and not path.is_symlink()]


def restored(site: FileSite) -> Scene:
    site.archive([UPLOADS])
    plan = site.restore()
    return make_scene(
        site.directory,
        site.settings,
        plan=plan,
        connections=site.connections,
        files_root=site.directory / "restored",
    )


def test_uploads_are_readable(site: FileSite) -> None:
    said = passes("uploads", restored(site)).splitlines()
    assert said[0].startswith("27 files, ")
    assert said[0].endswith(": each has the size and SHA-256 that the backup's index says.")
    assert said[1:] == ["5 of 5 images were opened, out of 24."]


def test_uploads_whose_modes_and_owners_were_set(site: FileSite) -> None:
    scene = restored(site)
    for path in (site.directory / "restored" / UPLOADS).rglob("*"):
        if not path.is_symlink():
            path.chmod(0o700)
    passes("uploads", scene)


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("2026/3.PNG", lambda path: path.unlink(), "2026/3.PNG is missing."),
        ("2026/2.jpg", lambda path: path.write_bytes(path.read_bytes()[:-10]), " bytes; it had "),
        ("again.pdf", lambda path: path.write_bytes(b"%pDF" * 1000), "does not hold what it held when it was backed"),
        ("link.jpg", lambda path: path.unlink(), "link.jpg is missing."),
        ("약관.pdf", lambda path: (path.unlink(), path.mkdir()), "약관.pdf is no file."),
        ("small 1.gif", lambda path: (path.unlink(), path.symlink_to("small 2.gif")), "small 1.gif is no file."),
    ],
)
def test_a_file_that_is_not_as_it_was(site: FileSite, name: str, damage: Callable[[Path], object], said: str) -> None:
    scene = restored(site)
    damage(site.directory / "restored" / UPLOADS / name)
    found = fails("uploads", scene)
    assert said in found
    assert found.startswith(f"/{UPLOADS}/")


def test_a_folder_that_is_gone(site: FileSite) -> None:
    scene = restored(site)
    folder = site.directory / "restored" / UPLOADS / "2026"
    folder.rename(folder.with_name("elsewhere"))
    assert fails("uploads", scene).count("is missing.") == 12


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def test_an_image_that_was_broken_before_is_evidence(site: FileSite) -> None:
    folder = site.source / UPLOADS
    for path in folder.glob("*.gif"):
        path.unlink()
    for path in list((folder / "2026").iterdir())[:-3]:
        path.unlink()
    broken, *_ = sorted((folder / "2026").iterdir())
    cut_short(broken)
    said = passes("uploads", restored(site))
    assert f"/{UPLOADS}/2026/{broken.name} can't be opened as an image, and was so when it was backed up: " in said
    assert "2 of 3 images were opened, out of 3." in said


def test_when_no_image_opens_something_is_wrong(site: FileSite) -> None:
    for path in images_of(site):
        path.write_bytes(b"not an image at all")
    assert fails("uploads", restored(site)).startswith("0 of 5 images were opened, out of 24.")


def test_an_image_of_too_many_pixels_is_not_opened(site: FileSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_PIXELS", 60 * 40 - 1)
    scene = restored(site)
    scene = replace(scene, settings=scene.settings.model_copy(update={"recovery_test": of_sample(scene, 24)}))
    said = passes("uploads", scene)
    assert "12 of 24 images were opened, out of 24." in said
    assert "60x40 pixels are too many to open it here" in said


def of_sample(scene: Scene, count: int) -> Any:
    return scene.settings.recovery_test.model_copy(update={"sample": count})


def test_a_decompression_bomb_is_not_opened(site: FileSite) -> None:
    for path in images_of(site):
        path.unlink()
    bomb = site.source / UPLOADS / "bomb.png"
    Image.new("1", (40_000, 40_000)).save(bomb)
    Image.new("1", (4, 4)).save(bomb.with_name("good.png"))
    said = passes("uploads", restored(site))
    assert "bomb.png can't be opened as an image" in said
    assert "1 of 2 images were opened" in said


def test_uploads_that_were_not_restored(site: FileSite) -> None:
    scene = make_scene(site.directory, site.settings, plan=bare_plan())
    assert "Nothing of uploads was restored: daily/20260101_000001 does not have it" in fails("uploads", scene)


# ---- keys ------------------------------------------------------------------------------------------------------------


def with_keys(site: FileSite, scene: Scene, *files: Path) -> Scene:
    """The same scene on a machine that has these private keys."""
    encryption = site.settings.encryption.model_copy(update={"identity_files": files})
    return replace(scene, settings=site.settings.model_copy(update={"encryption": encryption}))


def two_recipients(directory: Path) -> tuple[FileSite, Path, Path]:
    """A site that encrypts to two keys."""
    directory.mkdir()
    first, second = age_pair(directory, "first"), age_pair(directory, "second")
    site = make_file_site(directory, encryption={"recipients": [first.recipient, second.recipient]})
    (site.source / UPLOADS).mkdir(parents=True)
    (site.source / UPLOADS / "a").write_text("a")
    return site, first.identity_file, second.identity_file


def archived(site: FileSite) -> Scene:
    """A scene whose plan is of the site's newest set."""
    name = site.archive([UPLOADS])
    plan = bare_plan().model_copy(update={"backup": name})
    return make_scene(site.directory, site.settings, plan=plan, connections=FixedConnections())


def test_each_key_opens_the_set_alone(tmp_path: Path) -> None:
    site, first, second = two_recipients(tmp_path / "site")
    scene = with_keys(site, archived(site), first, second)
    said = passes("keys", scene).splitlines()
    assert [line.partition(" (age1")[0] for line in said] == [f"The key in {first}", f"The key in {second}"]
    assert all(line.endswith(f" alone opens {scene.plan.backup}.") for line in said)
    assert not list(scene.directory.iterdir())


def test_a_recipient_whose_key_is_elsewhere_is_evidence(tmp_path: Path) -> None:
    site, first, _ = two_recipients(tmp_path / "site")
    said = passes("keys", with_keys(site, archived(site), first))
    absent = site.settings.encryption.recipients[1][:12]
    assert f"The private key of {absent}... is not on this machine: whether it opens " in said


def test_a_wrong_key(tmp_path: Path) -> None:
    site, first, _ = two_recipients(tmp_path / "site")
    wrong = age_pair(tmp_path, "wrong")
    said = fails("keys", with_keys(site, archived(site), first, wrong.identity_file))
    assert said.startswith(f"The key in {wrong.identity_file} ({wrong.recipient[:12]}...) opens no backup in local")


def test_a_key_of_older_sets_is_tried_on_the_newest_of_those(tmp_path: Path) -> None:
    site, first, _ = two_recipients(tmp_path / "site")
    site.archive([UPLOADS])
    older = site.archive([UPLOADS])
    new = age_pair(tmp_path, "new")
    encryption = site.settings.encryption.model_copy(update={"recipients": (new.recipient,)})
    site.settings = site.settings.model_copy(update={"encryption": encryption})
    scene = with_keys(site, archived(site), new.identity_file, first)
    assert [line.rpartition(" ")[2] for line in passes("keys", scene).splitlines()] == [
        f"{scene.plan.backup}.",
        f"{older}.",
    ]


@pytest.mark.parametrize("content", ["AGE-SECRET-KEY-1QQQQ", "", None])
def test_a_file_that_holds_no_key(tmp_path: Path, content: str | None) -> None:
    site, first, _ = two_recipients(tmp_path / "site")
    file = tmp_path / "damaged.txt"
    if content is not None:
        file.write_text(content)
    said = fails("keys", with_keys(site, archived(site), first, file))
    assert said == f"The key file {file} can't be used: `age-keygen -y {file}` finds no identity in it."


def test_a_set_that_is_damaged(tmp_path: Path) -> None:
    site, first, _ = two_recipients(tmp_path / "site")
    scene = with_keys(site, archived(site), first)
    for path in (site.repository / scene.plan.backup / "uploads").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    said = fails("keys", scene)
    assert said.startswith(f"The key in {first} does not open {scene.plan.backup}: ")


def sealed(site: FileSite, scheme: Scheme) -> Scene:
    """A scene whose plan is of a set with an environment that this scheme encrypted."""
    raw = b"DB_HOST=10.0.0.5\n"
    folder = site.repository / "daily/20260101_000001/environment"
    folder.mkdir(parents=True)
    packed = site.directory / "packed"
    packed.write_bytes(zstandard.ZstdCompressor().compress(raw))
    name = f"000001.env.zst{scheme.suffix}"
    size, digest = scheme.encrypt(packed, folder / name)
    part = Part(
        name=name, raw_bytes=len(raw), raw_sha256=hashlib.sha256(raw).hexdigest(), stored_bytes=size, sha256=digest
    )
    environment = Component(
        name="environment",
        kind="files",
        content="environment",
        index=part,
        parts=(part,),
        started_at=NOW,
        finished_at=NOW,
        encryption=Encryption(scheme=scheme.name),
    )
    site.sign("daily", "20260101_000001", environment)
    return make_scene(site.directory, site.settings, connections=FixedConnections.of_a_site())


def test_a_password(tmp_path: Path) -> None:
    assert passes("keys", sealed(make_file_site(tmp_path / "good"), OpensslScheme("password"))) == (
        "The password opens daily/20260101_000001."
    )
    said = fails("keys", sealed(make_file_site(tmp_path / "bad"), OpensslScheme("another one")))
    assert said.startswith("The password does not open daily/20260101_000001: ")
    assert "another one" not in said


def test_a_gpg_key(tmp_path: Path) -> None:
    site = make_file_site(tmp_path / "site")
    recipient = "backup@spoqplus.com"
    with gpg_pair(tmp_path / "right", recipient) as right, gpg_pair(tmp_path / "wrong", recipient) as wrong:
        scene = sealed(site, GpgScheme(recipient, right.public))

        def knowing(private: Path | None) -> Scene:
            environment = EnvironmentSettings(
                gpg_recipient=recipient, gpg_public_key_file=right.public, gpg_private_key_file=private
            )
            return replace(scene, settings=site.settings.model_copy(update={"environment": environment}))

        assert passes("keys", knowing(right.private)).startswith(
            f"The key in {right.private} ({recipient}) alone opens"
        )
        assert passes("keys", knowing(None)).startswith(f"The private gpg key of {recipient} is not on this machine")
        said = fails("keys", knowing(wrong.private))
        assert said.startswith(f"The key in {wrong.private} does not open daily/20260101_000001: ")
