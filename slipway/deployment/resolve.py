"""From what was asked to what follows: everything is looked up, computed and placed here, once."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from slipway.catalog import Catalog, CatalogError, load
from slipway.catalog.load import KINDS
from slipway.deployment.acceptance import acceptance_teams
from slipway.deployment.claims import Holdings
from slipway.deployment.derived import derived
from slipway.deployment.drivers import with_drivers
from slipway.deployment.floating import floating_plan
from slipway.deployment.machines import machines
from slipway.deployment.models import served_models
from slipway.deployment.names import gateway_names, slug
from slipway.deployment.placement import place_instances
from slipway.deployment.references import LOOPBACK, public
from slipway.deployment.routes import proved, provided_models, routes
from slipway.deployment.types import (
    Deployment,
    FrontPlan,
    GatewayInstance,
    Instance,
    Machine,
    StorePlan,
    listen_address,
)
from slipway.paths import ROOT
from slipway.settings.errors import SettingsError, place
from slipway.settings.load import read_public, stack_file
from slipway.settings.platform import Settings


def catalog_of(settings: Settings, root: Path = ROOT) -> Catalog:
    """The catalogue with the entries of the user's file; `root` is the project's folder, from which its path counts."""
    return _ours() if settings.catalog is None else load(root / settings.catalog)


def deployment_of(stack: str, root: Path) -> Deployment:
    """What follows from the settings of a stack of the project in `root`, without its secrets; placed as on empty machines.

    Raises:
        SettingsError: no such stack, or its settings were refused.
    """
    settings = read_public(stack, root)
    return resolve(settings, catalog_of(settings, root), str(stack_file(stack, root).relative_to(root)))


@cache
def _ours() -> Catalog:
    """Read once however many stacks are looked at."""
    return load()


def resolve(settings: Settings, catalog: Catalog, source: str, holdings: Holdings | None = None) -> Deployment:
    """All that follows from `settings`.

    Args:
        settings: as parsed; secrets may be placeholders.
        catalog: from `catalog_of`.
        source: what errors name as the settings' origin.
        holdings: what the stack's instances had when they were last brought up; without it everybody is placed anew, as on
            empty machines.

    Raises:
        SettingsError: a name that the catalogue does not have, a catalogue file that can't be read, or models that find no
            room. One line each.
    """
    try:
        if settings.catalog is not None:
            # All kinds of a user's own file, so that a mistake in it shows now and not in the middle of a rule.
            for kind in KINDS:
                getattr(catalog, kind)
        hosts = machines(settings, catalog, source)
        served, problems = served_models(settings, catalog, hosts, source)
    except CatalogError as error:
        raise SettingsError(
            [f"{place('catalog')}: {error}; nothing could be looked up in it: mend the file"], source
        ) from None
    if not problems:
        hosts = with_drivers(settings, catalog, hosts, served)
    instances, unplaced = place_instances(settings, hosts, served, holdings or {})
    if problems or unplaced:
        raise SettingsError([f"{place(*keys)}: {message}" for keys, message in (*problems, *unplaced)], source)
    names = routes(settings, served)
    return Deployment(
        source=source,
        settings=settings,
        catalog=catalog,
        machines=hosts,
        served=served,
        provided=provided_models(settings),
        routes=names,
        instances=instances,
        gateways=_all_gateways(settings, hosts),
        front=_front(settings, hosts),
        store=_store(settings, hosts, instances),
        acceptance=acceptance_teams(settings, tuple(route.name for route in proved(names, served))),
    )


def _store(settings: Settings, hosts: Mapping[str, Machine], instances: tuple[Instance, ...]) -> StorePlan | None:
    store = settings.store
    if store is None:
        return None
    names = {each.machine.name for each in instances if each.served.settings.source.is_brought}
    return StorePlan(
        machine=hosts[store.host],
        path=store.path.rstrip("/"),
        port=store.port,
        readers=tuple(machine for machine in hosts.values() if machine.name in names),
    )


def _front(settings: Settings, hosts: Mapping[str, Machine]) -> FrontPlan:
    first, *others = (hosts[name] for name in settings.front_hosts)
    floating = settings.front.floating
    return FrontPlan(
        name=slug(settings.front.name),
        machine=first,
        others=tuple(others),
        server_name=settings.front.server_name or (public(first.name) if floating is None else floating.host),
        port=settings.front.port,
        floating=None if floating is None else floating_plan(floating, first),
    )


def _all_gateways(settings: Settings, hosts: Mapping[str, Machine]) -> tuple[GatewayInstance, ...]:
    """Those of the first machine come first; every front asks all."""
    fronts = [hosts[name] for name in settings.front_hosts]
    return tuple(each for name in settings.gateway_hosts for each in _gateways(settings, hosts[name], fronts))


def _gateways(settings: Settings, machine: Machine, fronts: list[Machine]) -> tuple[GatewayInstance, ...]:
    """One gateway, or a second one for private teams (`Settings.has_private_gateway`)."""
    gateway = settings.gateway
    address = listen_address(machine, *fronts)
    # What engines know as well is the second choice.
    floating = settings.front.floating
    known = gateway.engine_key if floating is None else floating.secret
    key = None if address == LOOPBACK else known

    def instance(name: str, port: int, *, private_only: bool) -> GatewayInstance:
        return GatewayInstance(
            name=name,
            machine=machine,
            port=port,
            address=address,
            # Each knows all keys, so that each can say whose a key is.
            teams=gateway.teams,
            private_only=private_only,
            front_key=None if key is None else derived(key, "front"),
        )

    private_only = not settings.providers or all(team.private for team in gateway.teams.values())
    name, private_name = gateway_names(gateway.name)
    first = instance(name, gateway.port, private_only=private_only)
    if not settings.has_private_gateway:
        return (first,)
    return (first, instance(private_name, gateway.private_port, private_only=True))
