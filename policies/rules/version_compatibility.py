"""Engine, CUDA, driver and GPU go together, by the compatibility table."""

from collections.abc import Iterator

from policies.readers.engines.container import ContainerLaunch
from policies.readers.engines.drivers import (
    carries_its_own,
    container_needs,
    in_release_table,
    installed,
    selected,
)
from policies.readers.engines.launch import Launch
from policies.readers.engines.launches import SIZED_TYPES, sized_launches
from policies.readers.engines.sources import called
from policies.rule import About, Group, Rule, Scope, Severity, Violation, violation
from slipway.versions import older


def _platform(launch: Launch) -> Iterator[Violation]:
    """The table has the platform's release."""
    release = launch.release
    if release is None or launch.get("engine", "build") != "cuda":
        return
    if not in_release_table(launch.engine, release):
        engine = f"{launch.terms.shown} {release}"
        what = f"{engine}, of {called(launch)}, is in no table of releases, so nobody knows which driver it needs"
        yield violation(launch, "engine", "release", what=what, mend="use a release of the table, or add a row to it")


def _container(launch: ContainerLaunch, about: About) -> Iterator[Violation]:
    """The drivers that the stack says, and the GPU that the pod selects, are new enough."""
    need = container_needs(launch)
    if need is None or not any(name.startswith("nvidia.com/") for name in launch.container.gpus()):
        return
    engine = f"{launch.terms.shown} {launch.release}"
    gpu = launch.gpu
    has = None if gpu is None else gpu.nvidia_capability
    if has is not None and has < need.capability:
        what = f"its GPU has compute capability {has}, and {engine} is built for {need.capability} and later"
        yield violation(launch, "image", what=what, mend="select nodes with a newer GPU, or use an older release")
    own = selected(launch)
    drivers = list(installed(about.stack)) if own is None else [own]
    if drivers and all(older(driver, need.driver) for driver in drivers) and not carries_its_own(launch):
        what = f"{engine} is built with CUDA {need.cuda} and needs driver {need.driver}; its nodes have {drivers[0]}"
        yield violation(launch, "image", what=what)


def check(launch: Launch, about: About) -> Iterator[Violation]:
    """The table of releases and the drivers that the stack says go with the engine."""
    if isinstance(launch, ContainerLaunch):
        yield from _container(launch, about)
    else:
        yield from _platform(launch)


RULE = Rule(
    id="version-compatibility",
    title="Engine, CUDA, driver and GPU go together",
    group=Group.COMPLIANCE,
    severity=Severity.HIGH,
    reason="the engine would fail at its first CUDA call, on nodes that are paid for",
    mend="install a newer driver, or use a release that is built with an older CUDA",
    source="NVIDIA CUDA Compatibility, Minor Version Compatibility; slipway/engines/NAME/releases.yaml",
    url="https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html",
    types=SIZED_TYPES,
    scope=Scope.STACK,
    items=sized_launches,
    check=check,
)
