"""The section `dr` of a site's file: where the DR region's parts are, and how production is fenced off.

Nothing in here is secret: credentials are ids of Airflow connections.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from spoqplus_backup.core.manifest import Model
from spoqplus_backup.core.setting_types import FilePath, Text

INCLUDE = Path(__file__).parents[3] / "include"

Region = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d+$")]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z](-?[A-Za-z0-9])*$", max_length=63)]  # of an RDS instance
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")]  # of Terraform
Url = Annotated[str, Field(pattern=r"^https?://[^@]+$")]
Command = Annotated[tuple[Text, ...], Field(min_length=1)]
_OWN_VARIABLES = frozenset({"region", "environment"})


class RestoreInstanceSettings(Model):
    """What is made of a snapshot when the replica is lost.

    `instance` is the new instance's identifier; `snapshot` null is the newest of `source`. What is null is as RDS
    chooses: the default subnet group, the default security group and parameter group, the snapshot's own class.
    """

    instance: Identifier
    source: Identifier | None = None
    snapshot: Text | None = Field(default=None, validate_default=True)
    instance_class: Annotated[str, Field(pattern=r"^db\.[a-z0-9.]+$")] | None = None
    subnet_group: Text | None = None
    security_groups: tuple[Text, ...] = ()
    parameter_group: Text | None = None
    multi_az: bool = False

    @field_validator("snapshot")
    @classmethod
    def _can_be_found(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("source") is None:
            raise ValueError("and `source` are both null: name a snapshot, or the instance whose newest one it is")
        return value


class DrDatabaseSettings(Model):
    """The replica in the DR region, and what it becomes.

    `connection` is a login at the promoted server; without a host in it, RDS is asked for the address. A lag above
    `maximum_lag_minutes` is a finding. `backup_window` is in UTC, as RDS wants it (`18:00-18:30`).
    """

    replica: Identifier
    connection: Text = "spoqplus_dr_mysql"
    backup_retention_days: int = Field(default=7, ge=1, le=35)
    backup_window: Annotated[str, Field(pattern=r"^\d{2}:\d{2}-\d{2}:\d{2}$")] | None = None
    maximum_lag_minutes: float = Field(default=60, gt=0)
    wait_minutes: float = Field(default=60, gt=0)
    poll_seconds: float = Field(default=30, gt=0)
    restore: RestoreInstanceSettings | None = None


class SecurityGroupSettings(Model):
    """The security group of the old primary, and the port that nobody may reach any more."""

    id: str = Field(pattern=r"^sg-[0-9a-f]+$")
    region: Region
    connection: Text = "spoqplus_aws"
    port: int = Field(default=3306, ge=1, le=65535)


class FenceSettings(Model):
    """How the old primary is kept from taking writes: commands, lists of words, and a change of its security group.

    A security group only refuses new connections; those that are open stay until they end. A command may end them.
    """

    commands: tuple[Command, ...] = ()
    command_seconds: float = Field(default=60, gt=0)
    security_group: SecurityGroupSettings | None = Field(default=None, validate_default=True)

    @field_validator("security_group")
    @classmethod
    def _fences_something(
        cls, value: SecurityGroupSettings | None, info: ValidationInfo
    ) -> SecurityGroupSettings | None:
        if value is None and not info.data.get("commands"):
            raise ValueError("and `commands` are both empty, so nothing would be fenced: set one, or `fence: null`")
        return value


class DrTerraformSettings(Model):
    """The configuration that makes the application servers.

    `binary` null is `terraform`, or else `tofu`, on PATH. `variables` go as `-var` beside `region` and
    `environment=dr`; `secrets` names connections whose password a variable is, handed over in memory. `backend` are
    the `-backend-config` of init. `environment` are variables for the program itself: a proxy, a file of provider
    mirrors. `lock_seconds` is how long it waits for the state's lock. Cancelled, it may end what it is doing for
    `stop_seconds`. A plan that destroys something is refused unless `allow_destroy`.
    """

    directory: FilePath = INCLUDE / "terraform" / "dr"
    binary: FilePath | None = None
    variables: dict[VariableName, str] = {}
    secrets: dict[VariableName, Text] = Field(default={}, validate_default=True)
    backend: dict[VariableName, str] = {}
    environment: dict[VariableName, str] = {}
    lock_seconds: int = Field(default=300, ge=0)
    stop_seconds: int = Field(default=45, ge=1)
    allow_destroy: bool = False

    @field_validator("variables", "secrets")
    @classmethod
    def _are_not_ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(_OWN_VARIABLES & value.keys()):
            raise ValueError(f"has {taken[0]}, which is always set: remove it")
        return value

    @field_validator("secrets")
    @classmethod
    def _are_no_variables(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if both := sorted(info.data.get("variables", {}).keys() & value.keys()):
            raise ValueError(f"has {both[0]}, which `variables` has too: remove it from there")
        return value


class DnsSettings(Model):
    """The change that sends people to the DR region.

    `template` is a change batch of Route 53 with `$NAME` where `variables`, or what the run found out, go. Behind the
    change the names of `resolve` (empty: those that it sets) are asked of `servers`, addresses with or without a
    port (empty: the zone's own name servers). `wait_seconds` is for each of the two.
    """

    zone: str = Field(pattern=r"^[A-Z0-9]{1,32}$")
    template: FilePath = INCLUDE / "route53" / "dr-failover.json"
    variables: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = {}
    resolve: tuple[Text, ...] = ()
    servers: tuple[Text, ...] = ()
    wait_seconds: float = Field(default=300, gt=0)


class DrHealthSettings(Model):
    """What has to answer in the DR region before DNS is switched: `checks` are folders of YAML files as those of
    `recovery_test.checks`, `urls` pages."""

    checks: tuple[FilePath, ...] = ()
    urls: tuple[Url, ...] = ()
    wait_minutes: float = Field(default=15, gt=0)


class DrSettings(Model):
    """Disaster recovery: where production goes when its region is lost.

    `connection` is the Amazon connection for the DR region and for Route 53. `repository` is what a lost replica is
    restored from (null: the first replica among the repositories, or else the last one). `urls` are the public pages:
    they tell whether production answers, and, behind the switch, whether it does again.
    """

    connection: Text = "spoqplus_aws_dr"
    region: Region = "ap-northeast-1"
    approval_hours: float = Field(default=1, gt=0)
    repository: Text | None = None
    urls: tuple[Url, ...] = ()
    database: DrDatabaseSettings
    fence: FenceSettings | None = None
    terraform: DrTerraformSettings | None = None
    dns: DnsSettings | None = None
    health: DrHealthSettings = DrHealthSettings()
