"""The names that a stack makes a machine ask for: hubs, mirrors and buckets of models, mirrors of Python and of the driver.

Left out is what the machine's own configuration names, such as its package sources and its index of Python packages.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from slipway.deployment.types import Deployment, Machine, Served

HUB = "https://huggingface.co"
"""Where models of a hub come from, unless they say otherwise."""
VENDOR = "https://developer.download.nvidia.com"
"""Where the vendor has the driver."""
_AWS = "amazonaws.com"
_AWS_ELSEWHERE = {
    "cn-": "amazonaws.com.cn",
    "eusc-": "amazonaws.eu",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
}
"""Where AWS has the regions that begin so, if not at `_AWS`; as the signed addresses have them (botocore's table)."""


def names(deployment: Deployment, machine: Machine) -> list[str]:
    """Each name once, in order; addresses are none, for nobody has to be asked for them."""
    found = {urlsplit(each).hostname or "" for each in _addresses(deployment, machine)}
    return sorted(name for name in found if name and not _is_address(name))


def _addresses(deployment: Deployment, machine: Machine) -> Iterator[str]:
    for served in _fetched(deployment, machine):
        source = served.files.source
        if source["kind"] == "mirror":
            yield source["url"]
        elif source["kind"] == "hub":
            yield source.get("endpoint", HUB)
        elif source["kind"] == "s3":
            yield source.get("endpoint") or _bucket(source["url"], source["region"])
    mirror = deployment.settings.pools[machine.pool].python_mirror
    if mirror is not None:
        yield str(mirror)
    driver = None if machine.driver is None else machine.driver.settings
    if driver is not None and driver.mirror_url is not None:
        yield driver.mirror_url
    # Where the source is automatic, the host's system decides, which is not known here.
    elif driver is not None and driver.source == "vendor":
        yield VENDOR


def _bucket(address: str, region: str) -> str:
    """Where AWS has a bucket. One with a dot is no name of a certificate's, and is the first part of the paths instead."""
    bucket = urlsplit(address).hostname or ""
    suffix = next((each for begin, each in _AWS_ELSEWHERE.items() if region.startswith(begin)), _AWS)
    # The first region is at the address that S3 had before there were others.
    where = f"s3.{suffix}" if region == "us-east-1" else f"s3.{region}.{suffix}"
    return f"https://{where}" if "." in bucket else f"https://{bucket}.{where}"


def _fetched(deployment: Deployment, machine: Machine) -> list[Served]:
    """The models whose source the machine asks itself: where there is a store, that alone asks, and for all."""
    store = deployment.store
    if store is None:
        return [each.served for each in deployment.on(machine)]
    return list(deployment.served.values()) if store.machine == machine else []


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
