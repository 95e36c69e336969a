"""What answers for each name that clients can ask for, and which teams may ask."""

from collections.abc import Mapping

from slipway.deployment.types import Provided, Route, Served
from slipway.settings.gateway import Team
from slipway.settings.models import ProvidedModel, RoutedModel, ServedModel
from slipway.settings.platform import Settings


def provided_models(settings: Settings) -> dict[str, Provided]:
    """The models that providers serve, by name."""
    return {
        name: Provided(
            name=name, settings=model, provider_name=model.provider, provider=settings.providers[model.provider]
        )
        for name, model in settings.models.items()
        if isinstance(model, ProvidedModel)
    }


def routes(settings: Settings, served: Mapping[str, Served]) -> dict[str, Route]:
    """One for each name, in the order of the stack."""
    return {name: _route(settings, name, served) for name in settings.models}


def _route(settings: Settings, name: str, served: Mapping[str, Served]) -> Route:
    model = settings.models[name]
    targets = dict(model.targets) if isinstance(model, RoutedModel) else {name: 1}
    here = [served[target].settings for target in targets if target in served]
    windows = [_window(settings.models[target]) for target in targets]
    outputs = [_output(settings.models[target]) for target in targets]
    return Route(
        name=name,
        task=settings.task_of(name),
        targets=targets,
        aliases=model.aliases,
        fallbacks=model.fallbacks,
        private=any(each.private for each in here),
        # What every target can do.
        context_window=None if None in windows else min(each for each in windows if each),
        max_output_tokens=None if None in outputs else min(each for each in outputs if each),
        settings=model,
    )


def _window(model: ServedModel | ProvidedModel | RoutedModel) -> int | None:
    if isinstance(model, ServedModel):
        return model.max_model_len
    return model.context_window if isinstance(model, ProvidedModel) else None


def _output(model: ServedModel | ProvidedModel | RoutedModel) -> int | None:
    if isinstance(model, ServedModel):
        return model.output_tokens
    return model.max_output_tokens if isinstance(model, ProvidedModel) else None


def asked_by(team: Team, all_routes: Mapping[str, Route]) -> list[Route]:
    """The routes that a team may ask, in the order of the stack."""
    if team.models is None:
        return list(all_routes.values())
    allowed = set(team.models)
    return [route for route in all_routes.values() if allowed & {route.name, *route.aliases}]


def proved(all_routes: Mapping[str, Route], served: Mapping[str, Served]) -> list[Route]:
    """What acceptance asks, and may ask: every name that only models served here answer for.

    What a provider answers costs money, and proves the provider.
    """
    return [route for route in all_routes.values() if served.keys() >= route.targets.keys()]
