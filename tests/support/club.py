"""A site that backs up everything there is: what lies on its web server, where it goes, and what changes overnight."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.keys import GpgPair, gpg_pair
from support.trees import nasty_tree
from support.world import BUCKET, DATABASE_PASSWORD, DR_BUCKET


@dataclass(frozen=True)
class Club:
    """The folder that everything of the site lies in, and the key that its environment is encrypted for."""

    folder: Path
    key: GpgPair

    @property
    def www(self) -> Path:
        """The web server's files: uploads, logs, faces, Config, .env."""
        return self.folder / "www"

    @property
    def root(self) -> Path:
        """Where files are restored to, which is empty."""
        return self.folder / "restored"

    def restored(self, name: str) -> Path:
        """Where a folder or file of the web server comes back."""
        return self.root / str(self.www / name).lstrip("/")

    def configuration(self) -> dict[str, Any]:
        """The fields of the site's file."""
        www = self.www
        return {
            "components": [],
            "files": [
                {"name": "uploads", "paths": [str(www / "uploads")], "exclude": ["*.tmp"]},
                {"name": "logs", "paths": [str(www / "logs")]},
                {"name": "config", "paths": [str(www / ".env"), str(www / "Config")], "level": "full"},
            ],
            "faces": {"directory": str(www / "faces")},
            "mirror": {"source": str(www / "uploads"), "target": str(self.folder / "mirror")},
            "config_git": {
                "remote": str(self.folder / "remote.git"),
                "paths": [str(www / ".env"), str(www / "Config")],
            },
            "environment": {
                "files": [str(www / ".env")],
                "gpg_recipient": self.key.recipient,
                "gpg_public_key_file": str(self.key.public),
                "gpg_private_key_file": str(self.key.private),
            },
            "restore": {
                "ownership": {"logs": {"owner": "www-data", "group": "www-data", "folders": "755", "files": "644"}}
            },
            "repositories": [
                {"name": "local", "root": f"file://{self.folder}/repository", "keep": {"days": 1}},
                {"name": "s3", "root": f"s3://{BUCKET}/club", "connection": "spoqplus_aws"},
                {"name": "dr", "root": f"s3://{DR_BUCKET}", "connection": "spoqplus_aws_dr", "role": "replica"},
            ],
        }

    def a_day_later(self) -> None:
        """New, changed and deleted files of every kind."""
        uploads = self.www / "uploads"
        (uploads / "새 사진.jpg").write_bytes(b"picture" * 1000)
        (uploads / "half an upload.tmp").write_text("not yet")
        (uploads / " ").unlink()
        (uploads / "회원").rename(uploads / "떠난 회원")
        with (self.www / "logs" / "log-1").open("a") as log:
            log.write("one more line\n")
        (self.www / "faces" / "3").write_text("another face")
        (self.www / "faces" / "4").unlink()
        self.date_faces(1_700_086_400)
        (self.www / "Config" / "App.php").write_text("<?php // changed")
        with (self.www / ".env").open("a") as environment:
            environment.write("APP_NAME='두 번째'\n")

    def date_faces(self, seconds: int) -> None:
        """Give the face images times of whole seconds: their index knows a time to some hundred nanoseconds."""
        faces = self.www / "faces"
        for path in (*faces.iterdir(), faces):
            os.utime(path, (seconds, seconds), follow_symlinks=False)


@contextlib.contextmanager
def club_in(folder: Path) -> Iterator[Club]:
    """Make it in an empty folder."""
    with gpg_pair(folder / "gpg", "backup@spoqplus.com") as key:
        club = Club(folder, key)
        nasty_tree(club.www / "uploads")
        dangling = club.www / "uploads" / "dangling"
        dangling.unlink()  # it leads out of any other root, where a restore refuses it
        dangling.symlink_to("no such\nplace")
        for name in ("logs", "faces", "Config", "uploads/회원"):
            (club.www / name).mkdir()
        (club.www / "uploads" / "회원" / "7.jpg").write_bytes(b"face" * 100)
        for number in range(20):
            (club.www / "logs" / f"log-{number}").write_text(f"line {number}\n" * 100)
            (club.www / "faces" / f"{number}").write_text(f"face {number}")
        (club.www / "faces" / "newest").symlink_to("19")
        club.date_faces(1_700_000_000)
        (club.www / "Config" / "App.php").write_text("<?php")
        (club.www / ".env").write_text(f"DB_PASSWORD='{DATABASE_PASSWORD}'\nOTHER=no\n")
        subprocess.run(["git", "init", "--quiet", "--bare", folder / "remote.git"], check=True)
        club.root.mkdir()
        yield club
