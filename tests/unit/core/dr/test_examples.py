"""What teams adapt is right as far as a machine without a cloud can tell: Terraform's files, Route 53's template."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import hcl2
import pytest

from spoqplus_backup.core.dr import route53
from spoqplus_backup.core.dr.terraform import PRODUCTS
from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.core.settings_dr import INCLUDE

TERRAFORM = INCLUDE / "terraform" / "dr"
TEMPLATE = INCLUDE / "route53" / "dr-failover.json"
VALUES = {
    "region": "ap-northeast-1",
    "domain": "spoqplus.example",
    "load_balancer_zone_id": "Z14GRHDCWA56QT",
    "load_balancer_dns_name": "dr.ap-northeast-1.elb.amazonaws.com",
    "database_endpoint": "spoqplus-dr-replica.abc.ap-northeast-1.rds.amazonaws.com",
}
REFERENCE = re.compile(r"\b(var|local|data|aws_[a-z0-9_]+)\.([A-Za-z0-9_]+)(?:\.([A-Za-z0-9_]+))?")


def plain(value: Any) -> Any:
    """Without the quotes that the parser leaves around labels and strings."""
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value[1:-1] if isinstance(value, str) and value[:1] == value[-1:] == '"' else value


@pytest.fixture(scope="module")
def blocks() -> dict[str, list[Any]]:
    """The blocks of all files by their kind."""
    found: dict[str, list[Any]] = {}
    for path in sorted(TERRAFORM.glob("*.tf")):
        with path.open() as file:
            for kind, items in plain(hcl2.load(file)).items():
                found.setdefault(kind, []).extend(items)
    return found


def test_it_takes_what_a_failover_gives_and_gives_what_dns_needs(blocks: dict[str, list[Any]]) -> None:
    variables = {name: body for item in blocks["variable"] for name, body in item.items()}
    outputs = {name for item in blocks["output"] for name in item}
    assert {"region", "environment", "database_endpoint"} <= variables.keys()
    assert all(body["description"] and body["type"] for body in variables.values())
    names = set(re.findall(r"\$([a-z_]+)", TEMPLATE.read_text()))
    assert names - {"region", "domain"} <= outputs


def test_every_reference_leads_somewhere(blocks: dict[str, list[Any]]) -> None:
    known = {("var", name) for item in blocks["variable"] for name in item}
    known |= {("local", name) for item in blocks["locals"] for name in item}
    known |= {(kind, name) for item in blocks["resource"] for kind, named in item.items() for name in named}
    known |= {("data", kind) for item in blocks["data"] for kind in item}
    text = "\n".join(path.read_text() for path in TERRAFORM.glob("*.tf"))
    code = re.sub(r"#.*", "", text)
    used = {(kind, name) for kind, name, _ in REFERENCE.findall(code.replace("user-data.sh", ""))}
    assert len(used) > 20
    assert used <= known | {("data", "aws_vpc")}, used - known
    assert {name for kind, name in known if kind == "var"} <= {name for kind, name in used if kind == "var"}


def test_the_state_is_kept_in_s3_and_locked_there(blocks: dict[str, list[Any]]) -> None:
    (settings,) = blocks["terraform"]
    (backend,) = settings["backend"]
    assert backend["s3"]["use_lockfile"] is True
    assert backend["s3"]["encrypt"] is True


def test_the_servers_script_is_one_and_gets_all_its_values() -> None:
    script = (TERRAFORM / "user-data.sh").read_text()
    passed = set(re.findall(r"^    (\w+) += var\.", (TERRAFORM / "main.tf").read_text(), re.MULTILINE))
    assert set(re.findall(r"\$\{(\w+)\}", script)) == passed & set(re.findall(r"\w+", script))
    checked = subprocess.run(["bash", "-n"], input=re.sub(r"\$\{\w+\}", "x", script), text=True, check=False)
    assert checked.returncode == 0


def test_terraform_itself_finds_them_well_written() -> None:
    """Where PATH has one; `validate` would have to download the provider."""
    for program in filter(None, map(shutil.which, PRODUCTS)):
        done = subprocess.run([program, "fmt", "-check", "-diff", str(TERRAFORM)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_template_is_a_change_batch() -> None:
    batch = route53.render(TEMPLATE, VALUES)
    assert [change["ResourceRecordSet"]["Name"] for change in batch["Changes"]] == [
        "spoqplus.example",
        "www.spoqplus.example",
        "db.spoqplus.example",
    ]
    assert batch["Changes"][0]["ResourceRecordSet"]["AliasTarget"]["DNSName"] == VALUES["load_balancer_dns_name"]


RECORD = '{"Name": "$name", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.9"}]}'


def batch_of(record: str, action: str = "UPSERT") -> str:
    return f'{{"Changes": [{{"Action": "{action}", "ResourceRecordSet": {record}}}]}}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (batch_of(RECORD), r"\$name has no value: set it in `dr.dns.variables`.*\(there are region\)"),
        ("{", "is no template of a change batch"),
        ('{"Comment": "costs 5 $ a month"}', "is no template of a change batch"),
        ('{"Changes": "all"}', "is no change batch of Route 53: Invalid type for parameter Changes"),
        ('{"Changes": []}', "is no change batch of Route 53"),
        (batch_of('{"Name": "a", "Type": "A", "Ttl": 1}'), "Unknown parameter"),
        (batch_of(RECORD.replace("$name", "a"), "DELETE"), "change 1 is DELETE: write UPSERT"),
        (batch_of('{"Name": "a", "Type": "A"}'), "either AliasTarget or ResourceRecords"),
        (batch_of(RECORD.replace("$name", "a").replace('"TTL": 60, ', "")), "has no TTL"),
    ],
)
def test_a_wrong_template_is_told(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "switch.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=words):
        route53.render(path, {"region": "ap-northeast-1"})


def test_a_value_can_t_change_what_the_template_says(tmp_path: Path) -> None:
    path = tmp_path / "switch.json"
    path.write_text(batch_of(RECORD))
    batch = route53.render(path, {"name": 'a", "Type": "MX'})
    assert batch["Changes"][0]["ResourceRecordSet"]["Name"] == 'a", "Type": "MX'
    with pytest.raises(SettingsError, match="can't be read"):
        route53.render(tmp_path / "none.json", {})
