"""What is declared is what is deployed: every figure that policies are told is found in what the roles write.

Units and the front's configuration are rendered and read back; what ends in neither is looked for in the roles' variables.

A table has one entry for each figure: where it is read, or why no role is told of it. A new figure without an entry fails.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway.deployment.declaration import declaration
from slipway.deployment.types import Deployment
from slipway.engines.vllm.launch import NO_DOMAIN
from slipway.layers.step import Step
from slipway.settings.types import epoch
from tests.unit.deployment.stacks import deployment, ready, roles, seen, steps
from tests.unit.roles.rendering import written_front, written_service
from tests.unit.settings.documents import GOOD_KEY, OTHER_KEY, THIRD_KEY, changed, good, many, pair, with_changes

KEY = {"id": "abcd1234", "salt": "5a" * 16, "hash": "0" * 64}
ROLES = Path(__file__).parents[3] / "playbooks" / "roles"


WRITTEN: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"service": written_service, "nginx": written_front}
"""By role."""


class Told:
    """What the roles of one stack write, else what they are told, by what it is about."""

    def __init__(self, of: Deployment) -> None:
        self.steps: dict[str, Step] = steps(of)
        self.variables = {}
        for key, told in roles(of).items():
            writes = WRITTEN.get(self.steps[key].role)
            self.variables[key] = {**told, **(writes(told) if writes else {})}

    def of_role(self, role: str) -> dict[str, dict[str, Any]]:
        return {key: self.variables[key] for key, step in self.steps.items() if step.role == role}

    def on(self, machine: str, role: str) -> dict[str, Any]:
        (found,) = [told for key, told in self.of_role(role).items() if key.startswith(f"{machine}/")]
        return found

    def engines(self, model: str) -> dict[str, dict[str, Any]]:
        """The services that are asked for a model, by the keys of their steps, each with what the front has for it."""
        backends = self.front["nginx_routes"]["models"][model]["backends"]
        at = {f"{backend['address']}:{backend['port']}": backend for backend in backends}
        return {
            key: {
                **told,
                "backend": next((at[place] for place in at if f"//{place}/" in told["service_probe"]["url"]), {}),
            }
            for key, told in self.services(model).items()
            if told["service_probe"]
        }

    def services(self, model: str) -> dict[str, dict[str, Any]]:
        """The same with the other parts of replicas that machines share."""
        return {
            key: told
            for key, told in self.of_role("service").items()
            if told["service_description"].startswith("the engine ")
            and told["service_description"].partition(", machine ")[0].endswith(f" with {model}")
        }

    def flags(self, model: str) -> list[dict[str, str]]:
        """Their flags; a switch is ``""``."""
        return [flags_of(told) for told in self.engines(model).values()]

    def files(self, model: str) -> list[dict[str, Any]]:
        """What role model is told of its files."""
        machines = {key.split("/")[0] for key in self.engines(model)}
        folders = {loaded(told) for told in self.engines(model).values()}
        found = [
            told
            for key, told in self.of_role("model").items()
            if any(f"{folder}/".startswith(f"{told['model_path']}/") for folder in folders)
            and key.split("/")[0] in machines
        ]
        assert len(found) == len(machines)
        return found

    def program(self, key: str) -> tuple[str, dict[str, Any]]:
        """The program of a service, and what its role is told."""
        folder = self.variables[key]["service_program"]["folder"]
        machine = key.split("/", maxsplit=1)[0]
        (found,) = [
            (other, told)
            for other, told in self.variables.items()
            if other.startswith(f"{machine}/program-") and folder in told.values()
        ]
        return found

    def gateway(self, name: str, machine: str | None = None) -> dict[str, Any]:
        """What a gateway is told, on the first machine that has it unless another one is meant."""
        found = {key: told for key, told in self.of_role("service").items() if key.endswith(f"/{name}")}
        return next(iter(found.values())) if machine is None else found[f"{machine}/{name}"]

    def routes(self, gateway: str = "litellm") -> dict[str, Any]:
        found: dict[str, Any] = self.gateway(gateway)["service_files"]["routes.json"]["content"]
        return found

    def backends(self, model: str) -> list[dict[str, Any]]:
        return [entry for entry in self.routes()["models"] if entry["name"] == model]

    def team(self, name: str) -> dict[str, Any]:
        (found,) = [
            entry
            for entry in self.gateway("litellm")["service_files"]["teams.json"]["content"]["teams"]
            if entry["name"] == name
        ]
        # The front counts by the same.
        assert found in self.front["nginx_teams"]["teams"]
        return found

    @property
    def front(self) -> dict[str, Any]:
        """What the front is told, or the first."""
        return next(iter(self.of_role("nginx").values()))


def flags_of(told: dict[str, Any]) -> dict[str, str]:
    """Of a command: ``--name=value``, ``--name value`` or ``--name``."""
    found: dict[str, str] = {}
    last = ""
    for part in told["service_command"][1:]:
        name, equals, value = part.removeprefix("--").partition("=")
        if part.startswith("--"):
            found[name] = value
            last = "" if equals else name
        elif last:
            found[last], last = part, ""
    return found


def called(key: str) -> str:
    """The engine that the program of this step is of, without its build or the digest of a stack's own."""
    return re.sub(r"-(cpu|cuda|[0-9a-f]{8})$", "", key.partition("/program-")[2]).replace("-", "_")


def loaded(told: dict[str, Any]) -> str:
    """What an engine loads: by a flag, or by the file from which it is given its model."""
    given = told["service_files"].get("model.json")
    return str(given["content"]["file"]) if given else flags_of(told)["model"]


def machines_of(told: Told, role: str) -> list[str]:
    """Where a role is applied, in the order of the steps."""
    return [step.machine.name for step in told.steps.values() if step.role == role]


Node = list[dict[str, Any]]
"""The maps around a figure, the innermost last."""
Reader = Callable[[Told, Node], Iterator[Any]]
NOT_TOLD = "no role is told of it"


def purely(reader: Callable[[Told, Node], list[Any]]) -> Reader:
    return lambda told, node: iter(reader(told, node))


def engine(**readers: Callable[[dict[str, Any]], Any]) -> Reader:
    """Of every engine of the model, by the engine's name: what its variables say. An engine without an entry fails."""

    def read(told: Told, node: Node) -> Iterator[Any]:
        for key, variables in told.engines(node[1]["name"]).items():
            yield readers[called(told.program(key)[0])](variables)

    return read


def flag(name: str, default: str | None = None, kind: Callable[[str], Any] = int) -> Callable[[dict[str, Any]], Any]:
    """A flag of a command."""

    def read(variables: dict[str, Any]) -> Any:
        flags = flags_of(variables)
        return kind(flags[name] if default is None else flags.get(name, default))

    return read


def switch(name: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a flag without a value is there."""
    return lambda variables: name in flags_of(variables)


def variable(
    name: str, default: str | None = None, kind: Callable[[str], Any] = int
) -> Callable[[dict[str, Any]], Any]:
    """A variable of an engine's environment."""

    def read(variables: dict[str, Any]) -> Any:
        environment = variables["service_environment"]
        return kind(environment[name] if default is None else environment.get(name, default))

    return read


def always(value: Any) -> Callable[[dict[str, Any]], Any]:
    """What an engine does without being told."""
    return lambda variables: value


def each_slot(variables: dict[str, Any]) -> int:
    """The context of one slot: llama.cpp divides the whole among them."""
    flags = flags_of(variables)
    return int(flags["ctx-size"]) // int(flags["parallel"])


def waiting(variables: dict[str, Any]) -> int:
    """Requests that vLLM lets wait: its flag counts those of all copies that it works on too."""
    flags = flags_of(variables)
    return int(flags["max-num-queued-reqs"]) - int(flags["max-num-seqs"]) * int(flags.get("data-parallel-size", "1"))


def waiting_at_the_front(variables: dict[str, Any]) -> int:
    """Requests beyond those that llama.cpp works on, up to as many as the front lets it have."""
    most: int = variables["backend"]["most"]
    return most - int(flags_of(variables)["parallel"])


def media_domains(variables: dict[str, Any]) -> list[str]:
    """What follows vLLM's flag of several values, which is the last."""
    command = variables["service_command"]
    domains = command[command.index("--allowed-media-domains") + 1 :]
    return [] if domains == [NO_DOMAIN] else list(domains)


def of_model_file(*keys: str) -> Callable[[dict[str, Any]], Any]:
    """A value of the file from which Ollama is given its model."""

    def read(variables: dict[str, Any]) -> Any:
        value = variables["service_files"]["model.json"]["content"]
        for key in keys:
            value = value[key]
        return value

    return read


def service(variable: str) -> Reader:
    """A variable of every service of the model."""

    def read(told: Told, node: Node) -> Iterator[Any]:
        yield from (variables[variable] for variables in told.engines(node[1]["name"]).values())

    return read


def both(*readers: Reader) -> Reader:
    def read(told: Told, node: Node) -> Iterator[Any]:
        for reader in readers:
            yield from reader(told, node)

    return read


def source(key: str) -> Reader:
    def read(told: Told, node: Node) -> Iterator[Any]:
        for files in told.files(node[1]["name"]):
            origin = files["model_source"]
            if origin["kind"] == "store":
                (origin,) = (
                    stored["stored_model_source"]
                    for stored in told.of_role("stored_model").values()
                    if stored["stored_model_name"] == node[1]["name"]
                )
            yield "hostPath" if origin[key] == "host_path" else origin[key]

    return read


def locked(role: str, package: str) -> Callable[[Told, Node], Iterator[str]]:
    """The release that the role's own lock pins."""

    def read(told: Told, node: Node) -> Iterator[str]:
        del told, node
        found = 0
        for lock in sorted((ROLES / role / "files").glob("requirements*.txt")):
            for release in re.findall(rf"^{package}(?:-cpu)?==(\S+)", lock.read_text(), re.MULTILINE):
                found += 1
                yield release
        assert found

    return read


def engine_release(told: Told, node: Node) -> Iterator[str | None]:
    """What the lock of the program's role pins; None for a program that the stack brings."""
    for key in told.engines(node[1]["name"]):
        name, program = told.program(key)
        if any(variable.endswith("_program") for variable in program):
            yield None
        elif "vllm_build" in program:
            yield from locked("vllm", "vllm")(told, node)
        elif "llama-cpp" in name:
            # The package has its own number before the server's.
            yield from (f"b{release.rpartition('.')[2]}" for release in locked("llama_cpp", "xllamacpp")(told, node))


def stores(told: Told) -> dict[str, dict[str, Any]]:
    """What the machine with the model store is told, by the key of its step; the others are told nothing."""
    return {key: variables for key, variables in told.of_role("store").items() if variables}


def engine_build(told: Told, node: Node) -> Iterator[str]:
    for key in told.engines(node[1]["name"]):
        if "vllm_build" in told.program(key)[1]:
            yield told.program(key)[1]["vllm_build"]


def engine_name(told: Told, node: Node) -> Iterator[str]:
    yield from (called(told.program(key)[0]) for key in told.engines(node[1]["name"]))


def engine_program(told: Told, node: Node) -> Iterator[dict[str, Any] | None]:
    for key in told.engines(node[1]["name"]):
        own = [value for name, value in told.program(key)[1].items() if name.endswith("_program")]
        yield {"path": None, "url": None, "sha256": None, **own[0]} if own else None


OPTIONS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "vllm.tensor_parallel": flag("tensor-parallel-size"),
    "vllm.pipeline_parallel": flag("pipeline-parallel-size"),
    "vllm.data_parallel": flag("data-parallel-size"),
    "vllm.quantization": flag("quantization", kind=str),
    "vllm.kv_cache_dtype": flag("kv-cache-dtype", kind=str),
    "vllm.max_num_batched_tokens": flag("max-num-batched-tokens"),
    "vllm.gpu_memory_utilization": flag("gpu-memory-utilization", kind=float),
    "vllm.cpu_kv_cache_gib": flag("kv-cache-memory-bytes", kind=lambda text: int(text) / 2**30),
    "vllm.max_num_seqs": flag("max-num-seqs"),
    "vllm.queue": waiting,
    "vllm.media_domains": media_domains,
    "vllm.parsers": lambda variables: "tool-call-parser" in flags_of(variables),
    "vllm.dtype": flag("dtype", kind=str),
    "llama_cpp.parallel": flag("parallel"),
    "llama_cpp.queue": waiting_at_the_front,
    "llama_cpp.threads": flag("threads"),
    "llama_cpp.gpu_layers": flag("n-gpu-layers"),
    "llama_cpp.cache_type": flag("cache-type-k", kind=str),
    "llama_cpp.prompt_cache_gib": flag("cache-ram", kind=lambda text: int(text) / 1024),
    "llama_cpp.pooling": flag("pooling", kind=str),
    "ollama.parallel": variable("OLLAMA_NUM_PARALLEL"),
    "ollama.queue": variable("OLLAMA_MAX_QUEUE"),
    "ollama.threads": of_model_file("parameters", "num_thread"),
    "ollama.template": of_model_file("template"),
    **dict.fromkeys(
        ("vllm.memory_max", "llama_cpp.memory_max", "ollama.memory_max"),
        lambda variables: variables["service_memory_max"],
    ),
    **dict.fromkeys(
        ("vllm.start_timeout_s", "llama_cpp.start_timeout_s", "ollama.start_timeout_s"),
        lambda variables: variables["service_start_timeout"],
    ),
    # The first replica on each machine has it.
    **dict.fromkeys(
        ("vllm.port", "llama_cpp.port", "ollama.port"),
        lambda variables: int(variables["service_probe"]["url"].split("/")[2].rpartition(":")[2]),
    ),
}
"""Where an engine's own options are told."""


def engine_options(told: Told, node: Node) -> Iterator[dict[str, Any]]:
    name, given = node[-1]["name"], node[-1]["options"]
    for variables in told.engines(node[1]["name"]).values():
        yield {
            option: value if option == "program" else OPTIONS[f"{name}.{option}"](variables)
            for option, value in given.items()
        }


def indices(variables: dict[str, Any]) -> list[int]:
    """The GPUs that an engine sees."""
    visible = variables["service_environment"].get("CUDA_VISIBLE_DEVICES", "")
    return [int(index) for index in visible.split(",")] if visible else []


def visible_gpus(variables: dict[str, Any]) -> int:
    return max(1, len(indices(variables)))


def gpus(told: Told, node: Node) -> Iterator[int]:
    for variables in told.engines(node[1]["name"]).values():
        yield len(indices(variables)) * int(flags_of(variables).get("nnodes", "1"))


def flags_given(told: Told, node: Node) -> Iterator[dict[str, Any]]:
    for flags in told.flags(node[1]["name"]):
        yield {
            name: value
            for name, value in node[-1]["flags"].items()
            if flags.get(name if value is not False else f"no-{name}")
            == ("" if isinstance(value, bool) else str(value))
        }


def environment_given(told: Told, node: Node) -> Iterator[dict[str, str]]:
    for variables in told.engines(node[1]["name"]).values():
        has = variables["service_environment"]
        yield {name: value for name, value in node[-1]["environment"].items() if has[name] == value}


def kind(told: Told, node: Node) -> Iterator[str]:
    name = node[-1]["name"]
    if told.engines(name):
        yield "served"
    else:
        yield "provided" if all(entry["id"].endswith(f"/{name}") for entry in told.backends(name)) else "routed"


def targets(told: Told, node: Node) -> Iterator[dict[str, int]]:
    """By the model that answers, with its part of all."""
    name, asked = node[-1]["name"], node[-1]["targets"]
    parts: dict[str, float] = dict.fromkeys(asked, 0)
    for entry in told.backends(name):
        model = entry["litellm"]["model"].partition("/")[2]
        owner = model if model in asked else entry["id"].rpartition("/")[2]
        parts[owner] += entry["weight"]
    whole, total = sum(parts.values()), sum(asked.values())
    yield {target: round(part / whole * total, 9) for target, part in parts.items()}


def instance(read: Callable[[str, dict[str, Any]], Any]) -> Reader:
    """Of one instance: the key of its step, its variables."""

    def reader(told: Told, node: Node) -> Iterator[Any]:
        key = f"{node[-1]['machine']}/{node[-1]['name']}"
        yield read(key, told.services(node[1]["name"])[key])

    return reader


def listens(key: str, variables: dict[str, Any]) -> str:
    """Where an engine is told to listen, ``address:port``."""
    del key
    flags, environment = flags_of(variables), variables["service_environment"]
    if "headless" in flags:
        return f"{environment['VLLM_HOST_IP']}:{environment['SLIPWAY_REPLICA_PORT']}"
    return environment.get("OLLAMA_HOST") or f"{flags['host']}:{flags['port']}"


def probed(key: str, variables: dict[str, Any]) -> str:
    """Where it is asked whether it is ready; a part of a replica is not asked."""
    if not variables["service_probe"]:
        return listens(key, variables)
    return str(variables["service_probe"]["url"].split("/")[2])


def reached(told: Told, node: Node) -> Iterator[str]:
    """Where the gateway reaches it, and acceptance does; nobody reaches a part of a replica."""
    if node[-1]["rank"]:
        return
    key = f"{node[-1]['machine']}/{node[-1]['name']}"
    backends = [entry for entry in told.routes()["models"] if entry["id"].endswith(f"@{key}")]
    assert backends
    yield from (entry["url"].split("/")[2] for entry in backends)
    yield from (entry["litellm"]["api_base"].split("/")[2] for entry in backends)


def half(which: int, *readers: Reader) -> Reader:
    """The address, or the port, of ``address:port``."""

    def read(told: Told, node: Node) -> Iterator[Any]:
        for reader in readers:
            for found in reader(told, node):
                yield int(found.split(":")[1]) if which else found.split(":")[0]

    return read


def checked_before(told: Told, node: Node) -> Iterator[int]:
    for entry in told.on(node[-1]["machine"], "preflight")["preflight_ports"]:
        if entry["unit"] == f"slipway-{node[-1]['name']}.service" and "meeting" not in entry["purpose"]:
            yield entry["port"]


def met_at(told: Told, node: Node) -> Iterator[int]:
    """Where the machines of a replica meet: of its head, as preflight looks whether it is free."""
    machine, name = node[-1]["head"].split("/")
    for entry in told.on(machine, "preflight")["preflight_ports"]:
        if entry["unit"] == f"slipway-{name}.service" and "meeting" in entry["purpose"]:
            yield entry["port"]


def gateway_argument(name: str, kind: Callable[[str], Any] = str) -> Reader:
    def read(told: Told, node: Node) -> Iterator[Any]:
        command = told.gateway(node[-1]["name"], node[-1]["machine"])["service_command"]
        yield kind(command[command.index(name) + 1])

    return read


def upstream(key: str) -> Reader:
    """Where the front finds the gateway."""

    def read(told: Told, node: Node) -> Iterator[Any]:
        peers = told.front["nginx_routes"]["through"]["open" if node[-1]["name"] == "litellm" else "private"]
        id_ = f"{node[-1]['name']}@{node[-1]['machine']}"
        yield next(peer[key] for peer in peers if peer["id"] == id_)

    return read


def private_only(told: Told, node: Node) -> Iterator[bool]:
    gateway = told.gateway(node[-1]["name"])
    yield "service_egress" in gateway
    if any(entry["url"] is None for entry in told.routes(node[-1]["name"])["models"]):
        yield False


def team_models(told: Told, node: Node) -> Iterator[Any]:
    allowed, aliases = told.team(node[-1]["name"])["models"], told.routes()["aliases"]
    if allowed is None:
        yield None
        return
    declared = node[-1]["models"]
    names = {aliases.get(called, called) for called in declared}
    yield [called for called in declared if called in allowed] + [
        called for called in allowed if aliases.get(called, called) not in names
    ]


def as_declared(declared: str | None, told: dict[str, Any]) -> Any:
    """The end that a role is told of, as it is declared where the two are the same."""
    same = told["not_after"] == (None if declared is None else epoch(declared))
    return declared if same else told["not_after"]


def provider(read: Callable[[dict[str, Any]], Any]) -> Reader:
    def reader(told: Told, node: Node) -> Iterator[Any]:
        entries = [entry for entry in told.routes()["models"] if f"@{node[-1]['name']}/" in entry["id"]]
        assert entries
        yield from (read(entry) for entry in entries)

    return reader


def machines_of_pool(told: Told, node: Node) -> Iterator[list[str]]:
    bases = [step for step in told.steps.values() if step.role == "base"]
    yield [step.machine.name for step in bases if step.machine.pool == node[-1]["name"]]


def private_address(told: Told, node: Node) -> Iterator[str]:
    """Where services listen that other machines call: the address that is declared as private."""
    for key, variables in told.of_role("service").items():
        listens = str(probed(key, variables)).rpartition(":")[0]
        if key.startswith(f"{node[-1]['name']}/") and listens != "127.0.0.1":
            yield listens


LITELLM = {
    "openai": {"openai", "openai_compatible"},
    "anthropic": {"anthropic"},
    "azure": {"azure_openai"},
    "bedrock": {"bedrock"},
    "vertex_ai": {"vertex"},
}
"""What LiteLLM calls a kind, with the kinds."""


def provider_kind(told: Told, node: Node) -> Iterator[str]:
    for prefix in provider(lambda entry: entry["litellm"]["model"].partition("/")[0])(told, node):
        yield node[-1]["kind"] if node[-1]["kind"] in LITELLM[prefix] else prefix


FIGURES: dict[str, Reader | str] = {
    "purpose": NOT_TOLD,
    "clearSecrets": NOT_TOLD,
    "pools[].name": NOT_TOLD,
    "pools[].target": NOT_TOLD,
    "pools[].tier": NOT_TOLD,
    "pools[].gpu": NOT_TOLD,
    "pools[].gpus": lambda told, node: (
        told.on(machine, "preflight")["preflight_order"].get("promise", {"gpus": 0})["gpus"]
        for machine in node[-1]["machines"]
    ),
    "pools[].driver": lambda told, node: (
        None for machine in node[-1]["machines"] if f"{machine}/driver" not in told.steps
    ),
    **{
        f"pools[].driver.{name}": lambda told, node, name=name: (
            told.on(machine, "nvidia_driver")[f"nvidia_driver_{name}"] for machine in node[-2]["machines"]
        )
        for name in ("source", "branch", "modules", "reboot")
    },
    "pools[].driver.version": lambda told, node: (
        driver["nvidia_driver_version"]
        or (driver["nvidia_driver_vendor_version"] if driver["nvidia_driver_source"] in {"vendor", "mirror"} else None)
        for driver in (told.on(machine, "nvidia_driver") for machine in node[-2]["machines"])
    ),
    "pools[].driver.ends": NOT_TOLD,
    "store": lambda told, _: [] if told.of_role("store") else [None],
    "store.machine": lambda told, _: (key.partition("/")[0] for key in stores(told)),
    "store.path": lambda told, _: (each["store_path"] for each in stores(told).values()),
    "store.port": lambda told, _: (each["store_port"] for each in stores(told).values()),
    "pools[].mayBeMissing": lambda told, node: (
        step.absence.most
        for step in told.steps.values()
        if step.absence is not None and step.absence.most and step.machine.name in node[-1]["machines"]
    ),
    "pools[].machines": machines_of_pool,
    "machines[].name": lambda told, node: (
        step.machine.name for step in told.steps.values() if step.key == f"{node[-1]['name']}/base"
    ),
    "machines[].pool": NOT_TOLD,
    "machines[].address": lambda told, node: (
        step.machine.address for step in told.steps.values() if step.key.startswith(f"{node[-1]['name']}/")
    ),
    # Engines and gateways that other machines call listen there.
    "machines[].privateAddress": private_address,
    "machines[].runs": purely(
        lambda told, node: [
            [
                step.instance
                for step in told.steps.values()
                if step.machine.name == node[-1]["name"]
                and (
                    step.role in {"service", "nginx", "counters", "keepalived"}
                    or (step.role == "store" and step.variables.get("store_readers"))
                )
            ]
        ]
    ),
    "machines[].hostKey": lambda told, node: (
        step.machine.host_key is not None for step in told.steps.values() if step.machine.name == node[-1]["name"]
    ),
    "models[].kind": kind,
    "models[].name": lambda told, node: (
        name for name in {entry["name"] for entry in told.routes()["models"]} if name == node[-1]["name"]
    ),
    "models[].task": lambda told, node: (
        entry["task"]
        for entry in [
            *told.backends(node[-1]["name"]),
            *next(iter(told.of_role("acceptance").values()))["acceptance_models"],
        ]
        if entry["name"] == node[-1]["name"]
    ),
    "models[].aliases": purely(
        lambda told, node: [[alias for alias, name in told.routes()["aliases"].items() if name == node[-1]["name"]]]
    ),
    "models[].fallbacks": purely(lambda told, node: [told.routes()["fallbacks"].get(node[-1]["name"], [])]),
    # Its fall-backs are kept from providers by the settings.
    "models[].private": NOT_TOLD,
    "models[].provider": lambda told, node: (
        entry["id"].partition("@")[2].partition("/")[0] for entry in told.backends(node[-1]["name"])
    ),
    "models[].model": lambda told, node: (
        entry["litellm"]["model"].partition("/")[2] for entry in told.backends(node[-1]["name"])
    ),
    "models[].targets": targets,
    # What the catalogue says of it.
    "models[].id": NOT_TOLD,
    "models[].licence": NOT_TOLD,
    "models[].commercialUse": NOT_TOLD,
    "models[].attentionHeads": NOT_TOLD,
    "models[].source.kind": source("kind"),
    "models[].source.path": source("path"),
    "models[].source.url": source("url"),
    "models[].source.sha256": source("sha256sums"),
    "models[].source.repository": source("repository"),
    "models[].source.revision": source("revision"),
    "models[].source.endpoint": source("endpoint"),
    "models[].source.files": source("files"),
    "models[].maxModelLen": both(
        engine(vllm=flag("max-model-len"), llama_cpp=each_slot, ollama=variable("OLLAMA_CONTEXT_LENGTH")),
        lambda told, node: (entry["context_window"] for entry in told.backends(node[-1]["name"])),
    ),
    "models[].maxOutputTokens": lambda told, node: (
        entry["max_output_tokens"] for entry in told.backends(node[-1]["name"])
    ),
    # A GGUF file brings no code.
    "models[].trustRemoteCode": engine(vllm=switch("trust-remote-code"), llama_cpp=always(False), ollama=always(False)),
    "models[].pool": NOT_TOLD,
    "models[].gpu": NOT_TOLD,
    "models[].gpus": gpus,
    "models[].replicas": purely(lambda told, node: [len(told.engines(node[-1]["name"]))]),
    "models[].engine.name": engine_name,
    "models[].engine.program": engine_program,
    "models[].engine.options": engine_options,
    "models[].engine.release": engine_release,
    "models[].engine.build": engine_build,
    # What the release needs of a machine.
    "models[].engine.cuda": NOT_TOLD,
    "models[].engine.driver": NOT_TOLD,
    # The others take all the GPUs that they are given.
    "models[].engine.tensorParallel": engine(
        vllm=flag("tensor-parallel-size", "1"), llama_cpp=visible_gpus, ollama=visible_gpus
    ),
    "models[].engine.pipelineParallel": engine(
        vllm=flag("pipeline-parallel-size", "1"), llama_cpp=always(1), ollama=always(1)
    ),
    "models[].engine.dataParallel": engine(vllm=flag("data-parallel-size", "1"), llama_cpp=always(1), ollama=always(1)),
    "models[].engine.slots": engine(
        vllm=flag("max-num-seqs"), llama_cpp=flag("parallel"), ollama=variable("OLLAMA_NUM_PARALLEL")
    ),
    "models[].engine.slotsGiven": NOT_TOLD,
    "models[].engine.queue": engine(vllm=waiting, llama_cpp=waiting_at_the_front, ollama=variable("OLLAMA_MAX_QUEUE")),
    "models[].engine.mediaDomains": engine(vllm=media_domains, llama_cpp=always(None), ollama=always(None)),
    "models[].engine.flags": flags_given,
    "models[].engine.environment": environment_given,
    "models[].engine.keyed": engine(
        vllm=lambda variables: "VLLM_API_KEY" in variables["service_secrets"],
        llama_cpp=lambda variables: "keys" in variables["service_files"] and "api-key-file" in flags_of(variables),
        ollama=always(False),
    ),
    "models[].engine.drainSeconds": both(
        service("service_drain_timeout"),
        engine(
            vllm=flag("shutdown-timeout"),
            llama_cpp=variable("SLIPWAY_DRAIN_TIMEOUT"),
            # It ends what it has begun however long that takes: the unit's own limit is the one that counts.
            ollama=lambda variables: variables["service_drain_timeout"],
        ),
    ),
    "models[].instances[].name": instance(lambda key, variables: variables["service_name"]),
    "models[].instances[].machine": instance(lambda key, variables: key.split("/")[0]),
    "models[].instances[].gpus": instance(lambda key, variables: indices(variables)),
    "models[].instances[].address": half(0, instance(listens), instance(probed), reached),
    "models[].instances[].port": both(half(1, instance(listens), instance(probed), reached), checked_before),
    "models[].hosts": engine(vllm=flag("nnodes", "1"), llama_cpp=always(1), ollama=always(1)),
    "models[].instances[].rank": instance(lambda key, variables: int(flags_of(variables).get("node-rank", "0"))),
    # Parts know its address alone.
    "models[].instances[].head": NOT_TOLD,
    "models[].instances[].meetingPort": both(
        instance(lambda key, variables: int(flags_of(variables)["master-port"])), met_at
    ),
    "models[].instances[].peers": instance(lambda key, variables: variables["service_peers"]),
    # The sizing is a forecast: the engine's own words are compared with it after each `up`.
    "models[].sizing": NOT_TOLD,
    "models[].sizing.fits": NOT_TOLD,
    "models[].sizing.errors": NOT_TOLD,
    "models[].sizing.kvCacheTokens": NOT_TOLD,
    "models[].sizing.maxConcurrency": NOT_TOLD,
    "models[].sizing.kvCacheGib": NOT_TOLD,
    "models[].sizing.weightsGib": NOT_TOLD,
    "models[].sizing.gpuGib": NOT_TOLD,
    "models[].sizing.requestedGib": NOT_TOLD,
    "providers[].name": provider(lambda entry: entry["id"].partition("@")[2].partition("/")[0]),
    "providers[].kind": provider_kind,
    "providers[].region": provider(
        lambda entry: entry["litellm"].get("aws_region_name") or entry["litellm"].get("vertex_location")
    ),
    "providers[].url": provider(lambda entry: entry["litellm"].get("api_base")),
    "gateways[].name": lambda told, node: iter([told.gateway(node[-1]["name"])["service_name"]]),
    "gateways[].program": lambda told, node: (
        told.program(f"{node[-1]['machine']}/{node[-1]['name']}")[0].partition("/program-")[2] for _ in [0]
    ),
    "gateways[].release": locked("litellm", "litellm"),
    "gateways[].machine": lambda told, node: (
        step.machine.name for key, step in told.steps.items() if key == f"{node[-1]['machine']}/{node[-1]['name']}"
    ),
    "gateways[].address": both(gateway_argument("--host"), upstream("address")),
    "gateways[].port": both(gateway_argument("--port", int), upstream("port")),
    "gateways[].privateOnly": private_only,
    "teams[].name": lambda told, node: iter([told.team(node[-1]["name"])["name"]]),
    "teams[].models": team_models,
    "teams[].private": lambda told, node: iter([told.team(node[-1]["name"])["private"]]),
    "teams[].requestsPerMinute": lambda told, node: iter([told.team(node[-1]["name"])["requests_per_minute"]]),
    "teams[].tokensPerMinute": lambda told, node: iter([told.team(node[-1]["name"])["tokens_per_minute"]]),
    "teams[].parallelRequests": lambda told, node: iter([told.team(node[-1]["name"])["parallel_requests"]]),
    "teams[].tokensPerMonth": lambda told, node: iter([told.team(node[-1]["name"])["tokens_per_month"]]),
    "teams[].moneyPerMonth": lambda told, node: iter([units(told.team(node[-1]["name"])["money_per_month"])]),
    "teams[].expires": lambda told, node: iter([as_declared(node[-1]["expires"], told.team(node[-1]["name"]))]),
    "teams[].keys[].id": purely(
        lambda told, node: [each["id"] for each in told.team(node[-2]["name"])["keys"] if each["id"] == node[-1]["id"]]
    ),
    "teams[].keys[].notAfter": purely(
        lambda told, node: [
            as_declared(node[-1]["notAfter"], each)
            for each in told.team(node[-2]["name"])["keys"]
            if each["id"] == node[-1]["id"]
        ]
    ),
    "teams[].filters": lambda told, node: iter(
        [told.gateway("litellm")["service_files"]["filters.json"]["content"]["teams"].get(node[-1]["name"], {})]
    ),
    "contentLog": lambda told, node: iter([None] if told.front["nginx_content_days"] == 0 else ["kept"]),
    "contentLog.teams": purely(
        lambda told, node: [[entry["name"] for entry in told.front["nginx_teams"]["teams"] if entry["log_content"]]]
    ),
    "contentLog.retentionDays": lambda told, node: iter([told.front["nginx_content_days"]]),
    "contentLog.reason": NOT_TOLD,
    "front.name": lambda told, node: (step.role for step in told.steps.values() if step.role == "nginx"),
    "front.machine": lambda told, node: (machines_of(told, role)[0] for role in ("nginx", "acceptance")),
    "front.machines": lambda told, node: (machines_of(told, role) for role in ("nginx", "acceptance", "keepalived")),
    "front.floatingAddress": lambda told, node: (
        each["keepalived_address"] for each in told.of_role("keepalived").values()
    ),
    "front.counters.machine": lambda told, node: iter(machines_of(told, "counters")),
    "front.counters.port": lambda told, node: (
        each["nginx_counters"]["port"] for each in told.of_role("nginx").values()
    ),
    "front.serverName": both(
        lambda told, node: iter([told.front["nginx_server_name"]]),
        lambda told, node: (each["acceptance_server_name"] for each in told.of_role("acceptance").values()),
    ),
    "front.port": both(
        lambda told, node: iter([told.front["nginx_port"]]),
        lambda told, node: (each["acceptance_port"] for each in told.of_role("acceptance").values()),
    ),
    "front.tlsVersions": lambda told, node: iter([told.front["nginx_tls_versions"]]),
    "front.siteCertificate": lambda told, node: iter(["nginx_site_certificate" in told.front]),
    "front.allowedOrigins": lambda told, node: iter([told.front["nginx_routes"]["allowed_origins"]]),
    "front.allowedNetworks": lambda told, node: iter([told.front["nginx_allowed_networks"]]),
    "front.metricsNetworks": lambda told, node: iter([told.front["nginx_metrics_networks"]]),
}
WHOLE = {
    "teams[].filters",
    "models[].targets",
    "models[].source.sha256",
    *(f"models[].engine.{key}" for key in ("flags", "environment", "options", "program")),
}
"""Maps whose keys are the stack's own."""


def figures(value: Any, path: str = "", node: tuple[dict[str, Any], ...] = ()) -> Iterator[tuple[str, Any, Node]]:
    """Every figure of a declaration: its place, its value, the maps around it."""
    if isinstance(value, dict) and path not in WHOLE:
        for key, inner in value.items():
            yield from figures(inner, f"{path}.{key}".lstrip("."), (*node, value))
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for inner in value:
            yield from figures(inner, f"{path}[]", node)
    elif value != [] or not path.endswith(("pools", "models", "providers", "gateways", "instances")):
        yield path, value, list(node)


def certified(folder: Path) -> dict[str, Any]:
    """The smallest stack with what the others leave out: a site certificate, a mirror, a hub of one's own, split GPUs."""
    for name in ("crt", "key"):
        (folder / name).write_text("PEM")
    hub = {"hub": "o/m", "revision": "1" * 40, "endpoint": "http://hub.test/"}
    return with_changes(
        good(),
        ("pools.main.tier", "prod"),
        ("pools.main.hosts.gpu-1.host_key", "ssh-ed25519 AAAA"),
        ("models.m.source", {"mirror": "http://mirror.test/m/", "sha256": {"config.json": "a" * 64}}),
        ("models.m.gpus", 4),
        ("models.m.trust_remote_code", True),
        ("models.m.engine", {"data_parallel": 2, "flags": {"block-size": 16, "enable-prefix-caching": False}}),
        ("models.p", {"source": hub, "gpu_indices": [7, 5], "engine": {"pipeline_parallel": 2}}),
        ("models.e", {"source": {"path": str(folder)}, "task": "embedding", "gpus": 0}),
        ("front.certificate_file", str(folder / "crt")),
        ("front.key_file", str(folder / "key")),
        ("gateway.engine_key", OTHER_KEY),
        (
            "gateway.teams",
            {
                "a": {"key": GOOD_KEY, "filters": {"in": {"email": "mask"}, "out": {}}, "expires": "2031-12-31"},
                "b": {"key": THIRD_KEY, "models": ["m"], "private": True},
                "c": {"keys": [KEY, {**KEY, "id": "abcd1235", "not_after": "2030-01-01T00:00:00Z"}]},
            },
        ),
        ("gateway.content_log", {"teams": ["c"], "retention_days": 30, "reason": "complaints, decision 2026-14"}),
        ("front.allowed_origins", ["https://chat.example.org"]),
    )


def engines_of_all_kinds(folder: Path) -> dict[str, Any]:
    """llama.cpp and Ollama with files of all sources, on the CPU and on GPUs, and providers in regions."""
    (folder / "q.gguf").write_bytes(b"no GGUF file, so that nothing is sized")
    program = {"url": "http://mirror.test/p.tgz", "sha256": "b" * 64}
    llama = {
        "name": "llama_cpp",
        "parallel": 2,
        "threads": 3,
        "cache_type": "q8_0",
        "prompt_cache_gib": 0.5,
        "port": 9100,
    }
    ollama = {"name": "ollama", "program": program, "parallel": 3, "threads": 2, "template": "{{ .Prompt }}"}
    hub = {"hub": "o/m", "revision": "1" * 40, "file": "q-00001-of-00002.gguf"}
    here = {"host_path": "/srv/q.gguf"}
    return with_changes(
        good(),
        ("pools.main.gpus", 2),
        ("gateway.engine_key", OTHER_KEY),
        ("providers.far", {"kind": "bedrock", "region": "eu-central-1"}),
        ("providers.farther", {"kind": "vertex", "project": "p", "location": "europe-west4", "key": "{}"}),
        ("models", {
            "a": {"source": here, "engine": llama, "max_model_len": 4096},
            "b": {"source": {"path": str(folder), "file": "q.gguf"}, "engine": ollama, "gpus": 0},
            "c": {"source": hub, "engine": {"name": "llama_cpp", "pooling": "cls"}, "task": "embedding"},
            "d": {
                "source": {"host_path": "/data/d.gguf"},
                "engine": {"name": "llama_cpp", "program": {"path": str(folder / "q.gguf")}, "gpu_layers": 7},
                "gpus": 2,
            },
            "claude": {"provider": "far"},
            "gemini": {"provider": "farther"},
        }),
    )  # fmt: skip


@pytest.fixture(scope="module")
def stacks(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Deployment]:
    return {
        **ready(root),
        "certified": deployment(certified(tmp_path_factory.mktemp("certified"))),
        "missing": deployment(changed(pair(), "pools.main.may_be_missing", 1)),
        "store": deployment(
            with_changes(
                pair(),
                ("models.m.source", {"hub": "o/m", "revision": "0" * 40}),
                ("store", {"host": "gpu-1", "path": "/srv/store", "port": 8731}),
            )
        ),
        "engines": deployment(engines_of_all_kinds(tmp_path_factory.mktemp("engines"))),
        "money": deployment(
            with_changes(
                good(),
                ("models.m.price", {"input": 0.1, "output": 2}),
                ("gateway.usage", {"currency": "EUR"}),
                ("gateway.teams.a.money_per_month", 49.99),
            )
        ),
    }


def units(limit: dict[str, Any] | None) -> float | None:
    return None if limit is None else limit["amount"] / 1e9


def test_every_figure_is_what_the_roles_are_told(stacks: dict[str, Deployment]) -> None:
    read: set[str] = set()
    wrong = []
    for name, of in stacks.items():
        told = Told(of)
        for path, value, node in figures(seen(of, declaration(of))):
            assert path in FIGURES, f"{path}: declared, and this table does not say where a role is told of it"
            reader = FIGURES[path]
            if isinstance(reader, str):
                read.add(path)
                continue
            found = list(reader(told, node))
            if found:
                read.add(path)
            wrong += [
                f"{name}: {path} is declared as {value!r}, and told as {each!r}" for each in found if each != value
            ]
    assert wrong == []
    assert FIGURES.keys() == read, "nothing has these figures"


def test_the_drain_that_is_declared_is_the_units() -> None:
    """Of production this was once declared as 600 s, while the unit had 60 s."""
    of = deployment(many())
    declared = {
        model["name"]: model["engine"]["drainSeconds"]
        for model in declaration(of)["models"]
        if model["kind"] == "served"
    }
    assert set(declared.values()) == {450}
    told = Told(of)
    for model, drain in declared.items():
        for variables in told.engines(model).values():
            assert variables["service_drain_timeout"] == drain
            assert f"--shutdown-timeout={drain}" in variables["service_command"]
    assert all(told.gateway(name)["service_drain_timeout"] == 450 for name in ("litellm", "litellm-private"))


def test_no_secret_is_declared() -> None:
    declared = repr(declaration(deployment(many()), many()))
    for secret in (GOOD_KEY, OTHER_KEY, THIRD_KEY, "sk-openai-canary", "hf-token"):
        assert secret not in declared


def test_secrets_in_clear_are_named() -> None:
    of = deployment(many())
    assert declaration(of)["clearSecrets"] is None
    assert declaration(of, many())["clearSecrets"] == [
        "gateway.engine_key",
        "gateway.teams.assistant.key",
        "gateway.teams.legal.key",
        'models["qwen-1.5b"].source.token',
        "providers.openai.key",
    ]
