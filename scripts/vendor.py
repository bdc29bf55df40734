"""Fetches the browser libraries that lie in the repository, as `vendor.json` beside them says.

Nobody needs Node to run the page.

scripts/vendor.py            fetches what is recorded, and fails when a package is not the recorded one
scripts/vendor.py --newest   takes the newest version of each and records it

Needs `npm`. Each package's tarball is checked against its SHA-512 in npm; what is taken out of it is recorded with its
own. Two things are changed in the scripts: imports by name become imports of the file beside, because a browser finds
names only with an inline script, which our content policy forbids; and the names of source maps go.
"""

import argparse
import base64
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
FOLDERS = (PROJECT / "plugins/spoqplus_backup/web/static/vendor", PROJECT / "tests/web/vendor")
RECORD = "vendor.json"
NAMED_IMPORT = re.compile(r"""\bfrom\s*["']([a-z][a-z/-]*)["']""")
SOURCE_MAP = re.compile(r"\n//# sourceMappingURL=\S+\s*$")


def main() -> int:
    """Fetch all; the exit status tells whether everything was as recorded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--newest", action="store_true", help="take the newest versions and record them")
    newest = parser.parse_args().newest
    try:
        for folder in FOLDERS:
            record = json.loads((folder / RECORD).read_text())
            for name, package in record.items():
                _fetch(folder, name, package, newest=newest)
                print(f"{name} {package['version']} ({package['licence']}): {', '.join(package['files'])}")
            (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _fetch(folder: Path, name: str, package: dict[str, Any], *, newest: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        wanted = name if newest else f"{name}@{package['version']}"
        command = ["npm", "pack", "--json", "--pack-destination", directory, wanted]
        (told,) = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        tarball = Path(directory) / told["filename"]
        integrity = integrity_of(tarball.read_bytes())
        if integrity != told["integrity"]:
            raise ValueError(f"{wanted} is not what npm's list says: {integrity}, not {told['integrity']}.")
        if newest:
            package |= {"version": told["version"], "integrity": integrity}
        elif integrity != package["integrity"]:
            raise ValueError(f"{wanted} is another one than was recorded: {integrity}, not {package['integrity']}.")
        with tarfile.open(tarball) as archive:
            for target, file in package["files"].items():
                member = archive.extractfile(f"package/{file['from']}")
                if member is None:
                    raise ValueError(f"{wanted} has no file {file['from']}.")
                content = member.read()
                if target.endswith(".js"):
                    content = for_browser(content.decode()).encode()
                if newest:
                    file["sha512"] = integrity_of(content)
                elif integrity_of(content) != file["sha512"]:
                    raise ValueError(f"{target} of {wanted} is another one than was recorded.")
                (folder / target).write_bytes(content)


def for_browser(script: str) -> str:
    """A module that imports from the files beside it, and names no source map."""
    return SOURCE_MAP.sub("\n", NAMED_IMPORT.sub(lambda found: f'from"./{found[1].rpartition("/")[2]}.js"', script))


def integrity_of(content: bytes) -> str:
    """As npm and browsers write it: `sha512-` and the digest in base 64."""
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


if __name__ == "__main__":
    sys.exit(main())
