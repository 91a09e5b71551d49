"""Requests of every kind, drawn from the project's own OpenAPI of ETSI 014 and against it, at a KME that runs."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)

from qnetem.runtime import identity

PAGE = Path(__file__).parents[3] / "docs" / "etsi014.openapi.yaml"
SAES = ["app-2", "app-2b", "app-1b", "app-3", "app-1", "nobody", "app 4"]
BOUNDED = settings(
    max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
# of the standard, and of HTTP
DEFINED = {200, 400, 401, 503} | {404, 405, 413}


def document() -> dict[str, Any]:
    """The document, its paths naming SAEs that there are: a name out of nothing gets no further than the directory."""
    content: dict[str, Any] = yaml.safe_load(PAGE.read_text(encoding="utf-8"))
    schemas = content["components"]["schemas"]
    content["components"]["parameters"]["slave_SAE_ID"]["schema"] = {"enum": SAES}
    content["paths"]["/api/v1/keys/{master_SAE_ID}/dec_keys"]["parameters"][0]["schema"] = {"enum": SAES}
    schemas["KeyRequest"]["properties"]["additional_slave_SAE_IDs"]["items"] = {"enum": SAES}
    return content


def is_defined(context: Any, response: Any, case: Any) -> None:
    """Demand that the status is one that is defined."""
    if response.status_code not in DEFINED:
        raise Failure(operation=case.operation.label, title="undefined", message=str(response.status_code))


CHECKS = [response_schema_conformance, content_type_conformance, response_headers_conformance, is_defined]


def statuses_of(operation: Any, session: requests.Session, mode: GenerationMode) -> Counter[int]:
    """Send cases of an operation, hold every answer to the document, and count the statuses."""
    seen: Counter[int] = Counter()

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        response = case.call(session=session, timeout=10, verify=session.verify, cert=session.cert)
        seen[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    ask()
    return seen


def swept(content: dict[str, Any], kmes: Any, mode: GenerationMode) -> dict[str, Counter[int]]:
    """Return the statuses of every operation, asked as app-1 at alice's KME."""
    schema = schemathesis.openapi.from_dict(content)
    schema.config.update(base_url=kmes.url("alice", ""))
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(kmes.folder / "ca.pem")
        session.cert = (str(kmes.folder / "client" / "cert.pem"), str(kmes.folder / "client" / "key.pem"))
        operations = [result.ok() for result in schema.get_all_operations()]
        return {operation.label: statuses_of(operation, session, mode) for operation in operations}


async def sweep(kmes: Any, mode: GenerationMode, content: dict[str, Any] | None = None) -> dict[str, Counter[int]]:
    for _ in range(4):
        await kmes.add_block("alice", "bob", 1 << 20)
    kmes.write("client", kmes.authority.issue(identity.uri("metro", "sae", "app-1"), common_name="app-1"))
    return await asyncio.to_thread(swept, content or document(), kmes, mode)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
async def test_every_answer_is_as_the_document_says(open_kmes: Any, mode: GenerationMode) -> None:
    async with open_kmes() as kmes:
        seen = await sweep(kmes, mode)
    assert len(seen) == 5
    assert all(400 in counts for counts in seen.values()), seen
    is_positive = mode is GenerationMode.POSITIVE
    for call in ("GET /api/v1/keys/{slave_SAE_ID}/status", "POST /api/v1/keys/{slave_SAE_ID}/enc_keys"):
        assert seen[call][200] > 0 or not is_positive, seen
    keys = seen["POST /api/v1/keys/{master_SAE_ID}/dec_keys"]
    assert keys[200] == 0, seen  # nobody gave app-1 a key


async def test_an_answer_that_the_document_does_not_allow_is_seen(open_kmes: Any) -> None:
    """The checks can fail: against a document that knows no `key_size`, or no 503, they do."""
    content = document()
    content["components"]["schemas"]["Status"]["properties"]["key_size"] = {"type": "string"}
    async with open_kmes() as kmes:
        with pytest.raises((FailureGroup, Failure)):
            await sweep(kmes, GenerationMode.POSITIVE, content)
