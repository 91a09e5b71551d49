"""node.keys.policy_config: policies as a node's configuration carries them. Pure."""

from collections.abc import Iterable

from node.keys.policy import DEFAULT_POLICY, KeyMode, Policies, Policy, WhenDry
from qnetem.runtime.errors import BadInputError
from qnetem.v1.process_pb2 import KeyPolicyConfig

__all__ = ["policies_of"]

_MODES = {
    KeyPolicyConfig.MODE_UNSPECIFIED: KeyMode.QKD,
    KeyPolicyConfig.MODE_QKD: KeyMode.QKD,
    KeyPolicyConfig.MODE_HYBRID: KeyMode.HYBRID,
}
_WHEN_DRY = {
    KeyPolicyConfig.WHEN_DRY_UNSPECIFIED: WhenDry.REFUSE,
    KeyPolicyConfig.WHEN_DRY_REFUSE: WhenDry.REFUSE,
    KeyPolicyConfig.WHEN_DRY_PQC: WhenDry.PQC,
}


def policies_of(configs: Iterable[KeyPolicyConfig]) -> Policies:
    """Return the policies of a configuration.

    Raises:
        BadInputError: One is of no pair, of a pair that has one, or out of range; names it.
    """
    pairs = []
    others = []
    for config in configs:
        policy = _policy(config)
        if config.sae_ids:
            pairs.append((frozenset(config.sae_ids), policy))
        else:
            others.append(policy)
    if len(others) > 1:
        raise BadInputError(f"{len(others)} policies are for all pairs that no other names, not one")
    return Policies(pairs, others[0] if others else DEFAULT_POLICY)


def _policy(config: KeyPolicyConfig) -> Policy:
    name = "/".join(sorted(config.sae_ids)) or "default"
    for field in ("min_secret_hz", "max_secret_hz", "key_lifetime_s"):
        value = getattr(config, field)
        if not 0 <= value < float("inf"):
            raise BadInputError(f"policy {name}: {field} is {value}, not at least 0")
    if config.min_secret_hz and not config.sae_ids:
        raise BadInputError(f"policy {name}: min_secret_hz is for a pair alone")
    if 0 < config.max_secret_hz < config.min_secret_hz:
        raise BadInputError(f"policy {name}: min_secret_hz {config.min_secret_hz} is above {config.max_secret_hz}")
    if config.mode not in _MODES or config.when_dry not in _WHEN_DRY:
        raise BadInputError(f"policy {name}: mode {config.mode} or when_dry {config.when_dry} is not known")
    return Policy(
        name=name,
        min_secret_hz=config.min_secret_hz,
        max_secret_hz=config.max_secret_hz,
        burst_bits=config.burst_bits,
        priority=config.priority,
        key_lifetime_s=config.key_lifetime_s or None,
        allowed_relays=frozenset(config.allowed_relays) if config.is_relay_bound else None,
        mode=_MODES[config.mode],
        when_dry=_WHEN_DRY[config.when_dry],
    )
