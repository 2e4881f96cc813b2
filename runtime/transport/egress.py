"""Where outgoing calls may go: everywhere public; private places only when settings allow them.

The rule judges the address that a connection is made to, after the name was resolved, so neither a
name that points inside, nor a redirect, nor an odd spelling of an address (decimal, IPv4 inside
IPv6) leads to this machine, its network, or the metadata service of its cloud.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, TypeAlias

from runtime.model.errors import SetupError

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# A rule that names a host must not lead to credentials of the machine: these need their address.
_METADATA: Final = tuple(
    ip_network(text)
    for text in (
        "169.254.0.0/16",
        "100.100.100.200/32",
        "192.0.0.192/32",
        "fe80::/10",
        "fd00:ec2::/32",
    )
)
# Python's own idea of "global" differs between releases; these are refused by all of them.
_NEVER_PUBLIC: Final = (
    *_METADATA,
    *map(ip_network, ("192.0.0.0/24", "100.64.0.0/10", "64:ff9b:1::/48", "3fff::/20", "5f00::/16")),
    # Old ways to carry an IPv4 address, and what was private before fc00::/7.
    *map(ip_network, ("::/96", "::ffff:0:0:0/96", "fec0::/10")),
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_NUMERIC: Final = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)\Z", re.IGNORECASE)
_PATTERN: Final = re.compile(r"[a-z0-9*?_.-]+\Z")


@dataclass(frozen=True, slots=True)
class _Allowed:
    """One entry of the setting: a network or a pattern of names, on one port or on all."""

    network: Network | None
    name: str | None
    port: int | None


class EgressRule:
    """Decides by host, port and resolved address. Without entries, public addresses only."""

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self._allowed = tuple(_parse(entry) for entry in allow)

    def permits(self, host: str, port: int, address: Address) -> bool:
        """Whether a connection to this address may be made, asked for by this name."""
        if all(_is_public(form) for form in _forms(address)):
            return True
        return any(
            (entry.port is None or entry.port == port) and self._covers(entry, host, address)
            for entry in self._allowed
        )

    def permits_literal(self, host: str, port: int) -> bool | None:
        """The same for a host that is an address; None when it is a name and must be resolved.

        A host that some resolvers would read as a number, but is no plain address, is refused.
        """
        try:
            address = ip_address(host)
        except ValueError:
            last = host.rstrip(".").rpartition(".")[2]
            return False if ":" in host or _NUMERIC.match(last) else None
        return self.permits(host, port, address)

    @staticmethod
    def _covers(entry: _Allowed, host: str, address: Address) -> bool:
        if entry.network is not None:
            return any(form in entry.network for form in _forms(address))
        if any(form in network for form in _forms(address) for network in _METADATA):
            return False
        return fnmatch.fnmatchcase(host.lower().rstrip("."), entry.name or "")


def _forms(address: Address) -> Iterator[Address]:
    """The address, and an IPv4 address that is carried inside it."""
    if isinstance(address, IPv4Address):
        yield address
        return
    mapped = address.ipv4_mapped
    if mapped is not None:
        yield mapped  # The kernel connects to this one.
        return
    yield address
    if address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield address.teredo[1]


def _is_public(address: Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in _NEVER_PUBLIC)
    )


def _parse(entry: str) -> _Allowed:
    """`10.0.0.0/8`, `10.1.2.3`, `host`, `*.internal`, each with or without `:port`."""
    text = entry.strip().lower()
    network = _network(text)
    if network is not None:
        return _Allowed(network, None, None)
    host, colon, digits = text.rpartition(":")
    if not colon or not digits.isdigit():
        host, digits = text, ""
    port = int(digits) if digits else None
    network = _network(host.removeprefix("[").removesuffix("]"))
    if network is not None:
        return _Allowed(network, None, port)
    if not _PATTERN.match(host):
        raise SetupError(
            f"{entry!r} is no place that steps may be allowed to call: write a network "
            "(10.0.0.0/8), an address, a host (*.internal), each with or without :port.",
            reason="BAD_EGRESS_RULE",
        )
    return _Allowed(None, host, port)


def _network(text: str) -> Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
