"""Configurations that need no provider, and what runs them: a real Terraform where PATH has one, and the stand-in."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spoqplus_backup.core.dr.terraform import PRODUCTS

STANDIN = Path(__file__).with_name("terraform_standin.py")
NOTHING = "true"
SECRET = 'hunter2-"quoted"-${not.a.reference}-%{nor this}-한글\n2nd'

_HEAD = """
variable "region" { type = string }
variable "environment" { type = string }
variable "secret" {
  type      = string
  sensitive = true
  default   = ""
}
output "region" { value = var.region }
output "fingerprint" { value = nonsensitive(sha256(var.secret)) }
output "password" {
  value     = var.secret
  sensitive = true
}
"""


def binaries() -> Mapping[str, Path]:
    """By name: the real ones that this machine has, and always the stand-in, so that it can't rot."""
    real = {name: Path(path) for name in PRODUCTS if (path := shutil.which(name))}
    return {f"real-{name}": path for name, path in real.items()} | {"stand-in": STANDIN}


def used() -> str:
    """One line for the end of the tests."""
    names = [name.removeprefix("real-") for name in binaries() if name != "stand-in"]
    if names:
        return f"ran with the real {' and '.join(names)} of this machine, and with the stand-in"
    return "PATH has neither terraform nor tofu: ran with the stand-in alone (tests/support/terraform_standin.py)"


@dataclass
class Configuration:
    """A folder with resources; each runs a command of the shell when it is made, one after the other."""

    folder: Path
    resources: dict[str, str] = field(default_factory=dict)

    def write(self, resources: Mapping[str, str] | Sequence[str], backend: str = "") -> "Configuration":
        """Write it anew: names, or commands by name."""
        self.resources = dict(resources) if isinstance(resources, Mapping) else dict.fromkeys(resources, NOTHING)
        blocks, before = [_HEAD, f"terraform {{\n{backend}\n}}\n" if backend else ""], ""
        for name, command in self.resources.items():
            depends = f"depends_on = [terraform_data.{before}]\n" if before else ""
            blocks.append(
                f'resource "terraform_data" "{name}" {{\n{depends}'
                f'provisioner "local-exec" {{ command = {json.dumps(command)} }}\n}}\n'
            )
            before = name
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "main.tf").write_text("\n".join(blocks))
        wanted = [{"name": name, "command": command} for name, command in self.resources.items()]
        (self.folder / "standin.json").write_text(json.dumps({"resources": wanted}))
        return self

    def present(self) -> set[str]:
        """The names of what the state has."""
        path = self.folder / "terraform.tfstate"
        if not path.exists() or not path.stat().st_size:
            return set()
        found = json.loads(path.read_text())["resources"]
        return (
            set(found)
            if isinstance(found, dict)
            else {item["name"] for item in found if all(one.get("status") != "tainted" for one in item["instances"])}
        )

    @property
    def is_locked(self) -> bool:
        return (self.folder / ".terraform.tfstate.lock.info").exists()
