"""Certificates of a CA that nobody else believes."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """PEM files: the CA, a server's that names localhost, a client's, and another CA."""

    ca: str
    cert: str
    key: str
    client_cert: str
    client_key: str
    other_ca: str


def certificates(directory: Path) -> Certificates:
    """Made new."""
    ca, other = trustme.CA(key_type=trustme.KeyType.ECDSA), trustme.CA(key_type=trustme.KeyType.ECDSA)
    files = Certificates(
        *(str(directory / f"{name}.pem") for name in ("ca", "cert", "key", "client", "client-key", "other"))
    )
    ca.cert_pem.write_to_path(files.ca)
    other.cert_pem.write_to_path(files.other_ca)
    server, client = ca.issue_cert("localhost"), ca.issue_cert("ann@example.org")
    server.cert_chain_pems[0].write_to_path(files.cert)
    server.private_key_pem.write_to_path(files.key)
    client.cert_chain_pems[0].write_to_path(files.client_cert)
    client.private_key_pem.write_to_path(files.client_key)
    return files
