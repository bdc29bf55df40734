"""Which keys and certificates end, and when: only those that this project uses and this machine can see.

age's and Ed25519's keys never expire. An OpenPGP key does, and so do the certificates of an S3 endpoint of one's own
(Amazon renews its own) and those that a database connection names. What can't be read is left out: the backup itself
says so.
"""

import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from spoqplus_backup.core.connections import Connections
from spoqplus_backup.core.errors import BackupError
from spoqplus_backup.core.monitor.model import Expiry
from spoqplus_backup.core.settings import Settings

log = logging.getLogger(__name__)

SECONDS = 5.0  # to shake hands with an endpoint
AMAZON = (".amazonaws.com", ".amazonaws.com.cn")


def expiries(settings: Settings, connections: Connections) -> tuple[Expiry, ...]:
    """What ends, soonest first."""
    found = [*_gpg(settings), *_endpoints(settings, connections), *_database(settings, connections)]
    return tuple(sorted(found, key=lambda item: (item.at, item.name)))


def _gpg(settings: Settings) -> Iterator[Expiry]:
    chosen = settings.environment
    if chosen is None or chosen.gpg_recipient is None or chosen.gpg_public_key_file is None:
        return
    from spoqplus_backup.core.gpg import GpgScheme

    with _left_out(f"the key of {chosen.gpg_recipient}"):
        if (at := GpgScheme(chosen.gpg_recipient, chosen.gpg_public_key_file).expires_at()) is not None:
            yield Expiry(kind="gpg_key", name=chosen.gpg_recipient, at=at)


def _endpoints(settings: Settings, connections: Connections) -> Iterator[Expiry]:
    hosts = set()
    for name in {item.connection for item in settings.repositories if item.connection is not None}:
        with _left_out(f"the endpoint of {name}"):
            url = urlsplit(connections.s3_client(name).meta.endpoint_url)
            if url.scheme == "https" and url.hostname and not url.hostname.endswith(AMAZON):
                hosts.add((url.hostname, url.port or 443))
    for host, port in sorted(hosts):
        with _left_out(f"the certificate of {host}"):
            yield Expiry(kind="tls_certificate", name=f"{host}:{port}", at=_presented(host, port))


def _presented(host: str, port: int) -> datetime:
    """The end of the certificate that a server shows; whether to trust it is not asked here."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # an expired one is to be told, too
    with (
        socket.create_connection((host, port), SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as wrapped,
    ):
        content = wrapped.getpeercert(binary_form=True)
    return _end(x509.load_der_x509_certificate(content or b""))


def _database(settings: Settings, connections: Connections) -> Iterator[Expiry]:
    with _left_out(f"the connection {settings.database.connection}"):
        login = connections.database(settings.database.connection)
        for path in filter(None, (login.ssl_ca, login.ssl_cert)):
            with _left_out(f"the certificate {path}"):
                ends = map(_end, x509.load_pem_x509_certificates(Path(path).read_bytes()))
                yield Expiry(kind="tls_certificate", name=Path(path).name, at=min(ends))


def _end(certificate: x509.Certificate) -> datetime:
    return certificate.not_valid_after_utc


@contextlib.contextmanager
def _left_out(what: str) -> Iterator[None]:
    try:
        yield
    except (BackupError, OSError, ValueError) as error:
        log.info("When %s ends is not known: %s", what, error)
