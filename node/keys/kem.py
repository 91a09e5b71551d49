"""node.keys.kem: ML-KEM-768 between KMEs: offers and shares, each signed by its sender. Edge: chance, host time.

A KME's own key pairs live in its memory alone: a new one every `LIFE_S`, and the one before is kept as long again, for
what is under way. Whoever takes a KME's disk later learns no secret that was agreed by them.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey

from node.keys.hybrid import SECRET_BYTES, agreed_secret, wrapped
from qnetem.runtime import identity, rpc
from qnetem.runtime.errors import BadInputError, ConflictError, DeniedError, StartError
from qnetem.v1 import kem_pb2 as pb

__all__ = ["LIFE_S", "Kem", "KemUnknownError"]

LIFE_S: Final = 600.0
_OFFER: Final = b"qnetem kem offer v1\0"
_SHARE: Final = b"qnetem kem share v1\0"


class KemUnknownError(ConflictError):
    """The key pair that was encapsulated to is not there (any more); a new offer has to be asked for."""

    reason = "KEM_UNKNOWN"


@dataclass(frozen=True)
class _Pair:
    kem_id: str
    private: MLKEM768PrivateKey = field(repr=False)
    made_s: float


class Kem:
    """The KEM of one KME."""

    def __init__(self, testbed: str, credentials: rpc.Credentials, now_s: Callable[[], float] = time.monotonic) -> None:
        """Sign with the KME's peer credentials.

        Raises:
            StartError: They are not of an elliptic curve.
        """
        private = serialization.load_pem_private_key(credentials.key, None)
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise StartError("the key of the peer certificate is not of an elliptic curve, and signs no KEM offer")
        self._testbed = testbed
        self._signing = private
        own = x509.load_pem_x509_certificate(credentials.certificate)
        self._certificate = own.public_bytes(serialization.Encoding.DER)
        self._authority = x509.load_pem_x509_certificate(credentials.authority)
        self._now_s = now_s
        self._pairs: list[_Pair] = []

    def offer(self) -> pb.KemOffer:
        """Return a public key to encapsulate to."""
        now_s = self._now_s()
        if not self._pairs or now_s - self._pairs[-1].made_s >= LIFE_S:
            pair = _Pair(str(uuid.uuid4()), MLKEM768PrivateKey.generate(), now_s)
            self._pairs = [one for one in self._pairs[-1:] if now_s - one.made_s < 2 * LIFE_S] + [pair]
        pair = self._pairs[-1]
        public = pair.private.public_key().public_bytes_raw()
        return pb.KemOffer(
            kem_id=pair.kem_id,
            public_key=public,
            certificate=self._certificate,
            signature=self._signed(_OFFER + pair.kem_id.encode() + public),
        )

    def share(
        self, offer: pb.KemOffer, node: str, master_sae_id: str, secret: bytes | None = None
    ) -> tuple[bytes, pb.KemShare]:
        """Encapsulate to the offer of a node.

        Args:
            offer: Its answer.
            node: Whom it has to be signed by.
            master_sae_id: Whose keys the secret is for.
            secret: What is to be agreed, with other nodes too; None: what comes of the encapsulation.

        Returns:
            The agreed secret, and what to send.

        Raises:
            DeniedError: The offer is not that node's.
            BadInputError: The key is none of ML-KEM-768.
        """
        self._demand(offer.certificate, offer.signature, _OFFER + offer.kem_id.encode() + offer.public_key, node)
        try:
            kem_secret, ciphertext = MLKEM768PublicKey.from_public_bytes(offer.public_key).encapsulate()
        except ValueError:
            raise BadInputError(f"the offer of {node} is no public key of ML-KEM-768") from None
        own = agreed_secret(kem_secret, offer.kem_id, ciphertext)
        wrap = b"" if secret is None else wrapped(secret, own)
        signed = _SHARE + offer.kem_id.encode() + ciphertext + wrap + master_sae_id.encode()
        share = pb.KemShare(
            kem_id=offer.kem_id,
            ciphertext=ciphertext,
            wrapped=wrap,
            certificate=self._certificate,
            signature=self._signed(signed),
        )
        return own if secret is None else secret, share

    def opened(self, share: pb.KemShare, node: str, master_sae_id: str) -> bytes:
        """Return the secret that a node agreed on with this one.

        Raises:
            DeniedError: The share is not that node's, or not for this master.
            KemUnknownError: It is for a key pair that is not there.
            BadInputError: It is malformed.
        """
        signed = _SHARE + share.kem_id.encode() + share.ciphertext + share.wrapped + master_sae_id.encode()
        self._demand(share.certificate, share.signature, signed, node)
        pair = next((one for one in self._pairs if one.kem_id == share.kem_id), None)
        if pair is None:
            raise KemUnknownError(f"no key pair {share.kem_id} is held here")
        if len(share.wrapped) not in (0, SECRET_BYTES):
            raise BadInputError(f"a wrapped secret has {len(share.wrapped)} bytes, not {SECRET_BYTES}")
        try:
            kem_secret = pair.private.decapsulate(share.ciphertext)
        except ValueError:
            raise BadInputError(f"the share of {node} is no ciphertext of ML-KEM-768") from None
        own = agreed_secret(kem_secret, share.kem_id, share.ciphertext)
        return wrapped(share.wrapped, own) if share.wrapped else own

    def _signed(self, data: bytes) -> bytes:
        return self._signing.sign(data, ec.ECDSA(hashes.SHA256()))

    def _demand(self, certificate: bytes, signature: bytes, data: bytes, node: str) -> None:
        """Raise DeniedError unless `data` is signed by the node, under a certificate of the testbed's authority."""
        try:
            signer = x509.load_der_x509_certificate(certificate)
            signer.verify_directly_issued_by(self._authority)
            names = signer.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            public = signer.public_key()
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            raise DeniedError(f"what {node} agrees on comes without a certificate of this testbed") from None
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        is_valid = signer.not_valid_before_utc <= datetime.now(UTC) <= signer.not_valid_after_utc
        if uris != [identity.uri(self._testbed, "node", node)] or not is_valid:
            raise DeniedError(f"what is to be agreed on is not signed by {node} under a certificate that holds")
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise DeniedError(f"the certificate of {node} is not of an elliptic curve")
        try:
            public.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise DeniedError(f"what is to be agreed on is not signed by {node}") from None
