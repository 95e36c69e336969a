"""Where the requests of a platform's models go: engines here, providers, and on to others where these fail."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from policies.node import Node
from policies.readers.engines.platform import PROVIDED, SERVED
from policies.readers.gateways.ways import Where, whose


def is_outside(provider: Node, own: Collection[str] = ()) -> bool:
    """Whether a provider is beyond one's own networks: its address is public, or that of its maker.

    Args:
        provider: as the platform declares it.
        own: domains whose hosts are one's own.

    Raises:
        UnknownValueError: its address is not known.
    """
    return whose(str(provider.get("url", default="")), own) is not Where.PRIVATE


class Routes:
    """The names that clients of a platform can ask for."""

    def __init__(self, platform: Node, own: Collection[str] = ()) -> None:
        """`own` are domains whose hosts are one's own.

        Raises:
            UnknownValueError: a list is not known, or a name in it.
        """
        self._own = own
        self._models = {str(model.get("name")): model for model in platform.each("models")}
        aliases = ((alias, name) for name, model in self._models.items() for alias in model.get("aliases", default=[]))
        self._named = {**dict(aliases), **{name: name for name in self._models}}
        self._providers = {str(provider.get("name")): provider for provider in platform.each("providers")}
        self._teams = list(platform.each("teams"))

    def targets(self, name: str) -> list[str]:
        """The served and provided models that answer for a name, its fall-backs apart."""
        said = self._named.get(name, "")
        if said not in self._models:
            return []
        return [self._named.get(str(each), "") for each in self._models[said].get("targets", default={})] or [said]

    def is_here(self, name: str) -> bool:
        """Whether one of the models that answer for it is served here.

        Raises:
            UnknownValueError: of one of them it is not known.
        """
        return any(self._kind(target) == SERVED for target in self.targets(name))

    def outside(self, name: str) -> Iterator[str]:
        """What answers for it beyond one's own networks, for messages; its fall-backs apart.

        Raises:
            UnknownValueError: what decides is not known.
        """
        for target in self.targets(name):
            if self._kind(target) == PROVIDED:
                provider = str(self._models[target].get("provider", default=""))
                if is_outside(self._providers.get(provider, Node({})), self._own):
                    yield f"{target} of {provider}"

    def leaves_by(self, name: str) -> Iterator[str]:
        """What answers for it beyond one's own networks, by itself or where all that is before it fails, for messages.

        Raises:
            UnknownValueError: what decides is not known.
        """
        names, seen = [name], set[str]()
        while names:
            said = self._named.get(names.pop(0), "")
            if said in self._models and said not in seen:
                seen.add(said)
                yield from self.outside(said)
                names += [str(each) for each in self._models[said].get("fallbacks", default=[])]

    def asked_openly(self, name: str) -> bool:
        """Whether a team that is not private may ask for it.

        Raises:
            UnknownValueError: what a team may ask for is not known.
        """
        return any(self._may_ask(team, name) for team in self._teams if not team.get("private", default=False))

    def leaves_for(self, team: Node) -> Iterator[str]:
        """What answers a team beyond one's own networks, for messages.

        Raises:
            UnknownValueError: what decides is not known.
        """
        if not team.get("private", default=False):
            for name in self._models:
                if self._may_ask(team, name):
                    yield from self.leaves_by(name)

    def _may_ask(self, team: Node, name: str) -> bool:
        models = team.get("models")
        return models is None or any(self._named.get(str(each)) == name for each in models)

    def _kind(self, name: str) -> str:
        return str(self._models[name].get("kind", default="")) if name in self._models else ""
