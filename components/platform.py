"""The whole platform: the layers, and what waits for what."""

from collections.abc import Mapping
from typing import Any

import pulumi

from components.acceptance import Acceptance
from components.base import Base
from components.engine import Engine
from components.front import Front
from components.gateway import Gateway
from components.preflight import Preflight
from slipway import client
from slipway.checks.actual import Comparison, compare, deviation, planned
from slipway.layers import acceptance, base, engine, front, gateway, preflight
from slipway.settings import Settings
from slipway.sizing.result import Sizing


class Platform(pulumi.ComponentResource):
    """A private LLM service on hosts one owns."""

    def __init__(
        self,
        name: str,
        *,
        settings: Settings,
        sizing: Sizing | None = None,
        declaration: Mapping[str, Any] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Build the layers of `settings`, in which nothing is left to be looked up.

        `sizing` is the plan that the engines are compared with once they run; None where nothing could be computed.
        `declaration` (`slipway.checks.declaration`) becomes the component's inputs, which policies judge.

        Every host's preflight comes before any host's base, so that one refused host leaves all untouched. Engine,
        gateway and front don't wait for one another; acceptance waits for all.

        Raises:
            SettingsError: an adapter refused a setting.
        """
        super().__init__("slipway:index:Platform", name, dict(declaration or {}), opts)
        self._settings = settings
        self._plan = planned(sizing)
        child = pulumi.ResourceOptions(parent=self)

        self.preflight = Preflight(steps=preflight.steps(settings), opts=child)
        self.base = Base(steps=base.steps(settings), after=self.preflight.all, opts=child)
        engine_hosts = [host.name for host in settings.engine_hosts]
        self.engine = Engine(steps=engine.steps(settings), after=self.base.on(*engine_hosts), opts=child)
        self.gateway = Gateway(
            steps=gateway.steps(settings), after=self.base.on(settings.gateway_host.name), opts=child
        )
        self.front = Front(steps=front.steps(settings), after=self.base.on(settings.front_host.name), opts=child)
        self.acceptance = Acceptance(
            steps=acceptance.steps(settings),
            after=[*self.engine.all, *self.gateway.all, *self.front.all],
            triggers=[*self.engine.generations, *self.gateway.generations, *self.front.generations],
            opts=child,
        )
        self.register_outputs({"endpoint": settings.endpoint})

    def stack_outputs(self) -> dict[str, Any]:
        """What `pulumi stack output` shows: no secret among it."""
        settings = self._settings
        return {
            "endpoint": settings.endpoint,
            "models": [settings.model.name],
            "ca_certificate": self._ca_certificate(),
            "client": client.configuration(settings),
            "acceptance": self.acceptance.figures,
            "sizing": {host: self._compared(host) for host in self.engine.playbooks},
            "hosts": {
                host.name: {
                    "address": host.address,
                    "runs": [str(service) for service in settings.services(host)],
                }
                for host in settings.hosts
            },
        }

    def _compared(self, host: str) -> pulumi.Output[Comparison]:
        """Planned and actual of the engine on `host`; a large difference is a warning in the engine's log."""

        def side_by_side(results: dict[str, Any] | None) -> Comparison:
            comparison = compare(self._plan, results or {})
            if said := deviation(host, comparison):
                pulumi.warn(said, resource=self.engine)
            return comparison

        return self.engine.playbooks[host].results.apply(side_by_side)

    def _ca_certificate(self) -> pulumi.Input[str]:
        """What clients must trust (PEM): the private CA, the site's own, or nothing beyond what they trust anyway."""
        ca_file = self._settings.front.ca_file
        return self.front.ca_certificate if ca_file is None else ca_file.read_text(encoding="ascii")
