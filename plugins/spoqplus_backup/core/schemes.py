"""Which scheme reads or makes a part: mostly the site's, but some components have one of their own."""

from spoqplus_backup.core.component import ComponentRecord
from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.crypto import Scheme, scheme_for
from spoqplus_backup.core.errors import SettingsError
from spoqplus_backup.core.gpg import GpgScheme
from spoqplus_backup.core.manifest import Component, Manifest, SchemeName
from spoqplus_backup.core.plain import PlainScheme
from spoqplus_backup.core.settings import EnvironmentSettings, Settings


def component_scheme(settings: Settings, connections: Connections, record: ComponentRecord) -> Scheme:
    """The scheme that a component's parts are encrypted with, but for the plain ones."""
    return scheme_named(settings, connections, record.scheme or settings.encryption.scheme)


def stored_scheme(settings: Settings, connections: Connections, manifest: Manifest, component: Component) -> Scheme:
    """The scheme that reads a component of a set; of its `lists`, none.

    Raises:
        SettingsError: the configuration has no key for it.
    """
    return scheme_named(settings, connections, (component.encryption or manifest.encryption).scheme)


def scheme_named(settings: Settings, connections: Connections, name: SchemeName) -> Scheme:
    """The scheme of a component that was made with another one than its set.

    Raises:
        SettingsError: the configuration has no key for it.
    """
    if name == "none":
        return PlainScheme()
    if name == "gpg":
        scheme = gpg_scheme(settings.environment)
        if scheme is None:
            raise SettingsError(
                f"{settings.source}: `environment` names no `gpg_recipient`: set it and its key's file."
            )
        return scheme
    return scheme_for(settings, connections, name)


def gpg_scheme(environment: EnvironmentSettings | None) -> GpgScheme | None:
    """What encrypts the environment when a recipient is configured."""
    if environment is None or environment.gpg_recipient is None or environment.gpg_public_key_file is None:
        return None
    return GpgScheme(environment.gpg_recipient, environment.gpg_public_key_file, environment.gpg_private_key_file)
