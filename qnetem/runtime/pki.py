"""qnetem.runtime.pki: the certificate authority of a testbed and what it issues. Edge: writes files."""

import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from qnetem.runtime.errors import StartError
from qnetem.v1 import process_pb2

__all__ = [
    "Authority",
    "CertificateAndKey",
    "create_authority",
    "load_authority",
    "write_credentials",
    "write_private",
]

_LIFE: Final = timedelta(days=3650)
# clocks of several machines differ
_BACKDATED: Final = timedelta(hours=1)


@dataclass(frozen=True)
class CertificateAndKey:
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class Authority:
    """The authority of one testbed."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def pem(self) -> CertificateAndKey:
        """The authority's own certificate and key."""
        return _pem(self.certificate, self.key)

    def issue(
        self,
        uri: str,
        dns_names: Iterable[str] = (),
        ip_addresses: Iterable[str] = (),
        common_name: str | None = None,
        valid_for: timedelta = _LIFE,
    ) -> CertificateAndKey:
        """Issue a certificate for both ends of TLS.

        Args:
            uri: The party's SPIFFE URI, by which it is authorised.
            dns_names: Names under which it is dialled.
            ip_addresses: Only for HTTPS certificates: an IP name would let a misrouted gRPC call be accepted.
            common_name: Subject CN (an SAE's id); the URI's last part by default.
            valid_for: From an hour ago; negative for a certificate that has expired.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
        names += [x509.DNSName(name) for name in dns_names]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ip_addresses]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            _builder(common_name or uri.rpartition("/")[2], self.certificate.subject, key.public_key(), valid_for)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return _pem(certificate, key)


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> CertificateAndKey:
    return CertificateAndKey(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _builder(
    common_name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, valid_for: timedelta
) -> x509.CertificateBuilder:
    start = datetime.now(UTC) - _BACKDATED
    return (
        x509.CertificateBuilder()
        # X.509 bounds a common name to 64 characters
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start if valid_for > timedelta(0) else start + 2 * valid_for)
        .not_valid_after(start + valid_for)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def create_authority(testbed: str) -> Authority:
    """Create the authority of a testbed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"qnetem {testbed}"
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    certificate = (
        _builder(name, issuer, key.public_key(), _LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def load_authority(certificate_path: Path, key_path: Path) -> Authority:
    """Load an authority that was made before, or given by the operator.

    Raises:
        StartError: A file cannot be read, or is not a certificate with its EC key; names the file.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
    except (OSError, ValueError) as error:
        raise StartError(f"{certificate_path}: not a usable certificate ({type(error).__name__})") from error
    try:
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise StartError(f"{key_path}: not a usable private key ({type(error).__name__})") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise StartError(f"{key_path}: not the EC private key of {certificate_path}")
    return Authority(certificate, key)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner reads (0600), whole or not at all, replacing what was there."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def write_credentials(
    folder: Path, issued: CertificateAndKey, authority_path: Path, prefix: str = ""
) -> process_pb2.CredentialPaths:
    """Write `<prefix>cert.pem` and `<prefix>key.pem` into `folder`; return where they are, beside the authority's."""
    certificate_path, key_path = folder / f"{prefix}cert.pem", folder / f"{prefix}key.pem"
    write_private(certificate_path, issued.certificate)
    write_private(key_path, issued.key)
    return process_pb2.CredentialPaths(
        certificate_path=str(certificate_path), key_path=str(key_path), authority_path=str(authority_path)
    )
