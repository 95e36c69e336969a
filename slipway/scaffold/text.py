"""A stack's file as text: complete, with comments that say why, each true for the deployment at hand."""

from __future__ import annotations

from slipway.catalog import Model
from slipway.checks.subject import MEMORY_SHARE
from slipway.scaffold.deployment import Deployment, Planned, longest
from slipway.scaffold.hosts import Access
from slipway.scaffold.scalars import comment, scalar

SCHEMA = "# yaml-language-server: $schema=../docs/reference/stack.schema.json"
_MODELS = "/srv/models"


def stack_text(stack: str, deployment: Deployment, access: Access, catalog_file: str | None = None) -> str:
    """The whole of `stacks/Pulumi.STACK.yaml`. `catalog_file` is the user's own catalogue, if any."""
    lines = [SCHEMA, "#", *_head(stack, deployment, access), "config:", "  slipway:platform:"]
    if catalog_file is not None:
        lines += [*comment("Entries of your own that the names below may come from.", 4)]
        lines += [f"    catalog: {scalar(catalog_file)}"]
    lines += _hosts(stack, access)
    lines += _hardware(deployment)
    lines += _model(deployment)
    lines += _engine(deployment, several=len(access.places) > 1)
    lines += _gateway(deployment, access)
    lines += _open_ends()
    return "\n".join(lines) + "\n"


def _head(stack: str, deployment: Deployment, access: Access) -> list[str]:
    count = len(access.places)
    hardware = deployment.hardware
    what = "a GPU" if hardware.gpu is None else hardware.told
    whose = "hosts' addresses," if count > 1 else "host's address,"
    with_ = "without" if hardware.gpu is None else "with"
    text = f"{f'{count} hosts' if count > 1 else 'One host'} {with_} {what}{' each' if count > 1 else ''}: "
    copies = f"{deployment.copies} copies" if deployment.copies > 1 else "a copy"
    if count > 1:
        text += (
            f"{copies} of {deployment.model.id} on each, behind one gateway, which goes on while one of them is away. "
        )
    else:
        text += f"{f'{copies} of ' if deployment.copies > 1 else ''}{deployment.model.id}. "
    text += f"`slipway init` computed the figures; `slipway check {stack}` computes them again after a change. "
    text += f"Put the {whose} user and SSH key below, then:" if access.placeholders else "To deploy:"
    lines = comment(text)
    lines.append(f'#   eval "$(slipway env {stack})" && pulumi up --stack {stack}')
    if deployment.planned is not None:
        lines += ["#", *comment(_plan_text(deployment.planned))]
    return lines


def _plan_text(planned: Planned) -> str:
    option, load = planned.option, planned.load
    text = f"From a plan for {load.users} users: {option.name}, {option.hosts} host{'s' if option.hosts > 1 else ''}"
    text += ", rented; Slipway does not make them. " if option.place == "cloud" else ". "
    text += f"Its targets: {load.ttft_s:g} s to the first token, {load.tokens_per_second:g} tokens/s for each user. "
    if option.why_not:
        text += f"They are missed: {'; '.join(option.why_not)}. "
    elif not option.certain:
        text += "At the slow end of the prediction's range one is missed: measure. "
    return text.strip()


def _hosts(stack: str, access: Access) -> list[str]:
    lines = ["    hosts:"]
    several = len(access.places) > 1
    label = stack.lower().replace("_", "-").strip("-")[:50].rstrip("-")
    for number, place in enumerate(access.places, 1):
        first = number == 1
        lines.append(f"      - name: {scalar(f'{label}-{number}')}")
        if first and access.placeholders:
            them = "are addresses that reach" if several else "is an address that reaches"
            joined = ", ".join(other.address for other in access.places[:-1])
            last = access.places[-1].address
            lines += comment(f"Replace: {f'{joined} and {last}' if several else last} {them} nobody.", 8)
        lines.append(f"        address: {scalar(place.address)}")
        if place.private_address is not None:
            if first and several:
                lines += comment("The network between the hosts; engines listen on it and nowhere else.", 8)
            lines.append(f"        private_address: {scalar(place.private_address)}")
        if first:
            lines += comment("Slipway logs in as this user, which may use sudo without a password.", 8)
        lines.append(f"        user: {scalar(access.user)}")
        if access.key_file is not None:
            lines.append(f"        key_file: {scalar(access.key_file)}")
        elif first:
            lines += comment("No key_file: the SSH agent is asked for a key.", 8)
        if several:
            lines.append(f"        runs: [{'engine, gateway, front' if first else 'engine'}]")
    return lines


def _hardware(deployment: Deployment) -> list[str]:
    hardware = deployment.hardware
    lines = ["    hardware:"]
    if hardware.tier is not None:
        each = "no GPU" if hardware.gpu is None else f"{hardware.told} a host"
        lines += comment(f"From the catalogue: {each}, and what preflight demands of disk and memory.", 6)
        lines.append(f"      tier: {scalar(hardware.tier.id)}")
        return lines
    if hardware.gpu is not None:
        lines += comment(f"{hardware.told} a host. Preflight counts them before anything is changed.", 6)
        lines += [f"      gpu: {scalar(hardware.gpu.id)}", f"      gpus: {hardware.gpus}"]
    if hardware.memory_gib is not None:
        lines += comment(f"The instance type has {hardware.memory_gib:g} GiB; firmware and kernel keep some.", 6)
        lines.append(f"      min_memory_gib: {int(hardware.memory_gib * MEMORY_SHARE)}")
    return lines


def _model(deployment: Deployment) -> list[str]:
    model, request = deployment.model, deployment.sizing.request
    name = model.id.rpartition("/")[2]
    lines = ["    model:", *comment("The name in clients' requests.", 6), f"      name: {scalar(name.lower())}"]
    lines += comment("What the sizing goes by, since the files are not on this machine.", 6)
    lines += [f"      catalog: {scalar(model.id)}", "      source:"]
    lines += comment(
        "The folder with the model's files on each host; put them there. Other ways: path, mirror, hub "
        "(docs/reference/settings.md).",
        8,
    )
    lines.append(f"        host_path: {scalar(f'{_MODELS}/{name}')}")
    lines += comment(
        f"In tokens, prompt and completion together; the model takes up to {model.context:,}. The KV cache of a "
        f"{'copy' if deployment.copies > 1 else 'host'} holds {deployment.sizing.max_concurrency:.1f} requests of this length.",
        6,
    )
    lines.append(f"      max_model_len: {request.context}")
    if deployment.output_tokens is not None and deployment.planned is not None:
        usual = deployment.planned.load.output_tokens
        lines += comment(
            f"The longest completion that clients are told to ask for; those of the plan have {usual} tokens on average.",
            6,
        )
        lines.append(f"      max_output_tokens: {deployment.output_tokens}")
    if model.trust_remote_code:
        lines += comment(
            "The model comes with Python code of its own, and the engine refuses it until this is set; read that code first.",
            6,
        )
        lines.append("      # trust_remote_code: true")
    return lines


def _engine(deployment: Deployment, *, several: bool) -> list[str]:
    request, memory = deployment.sizing.request, deployment.sizing.memory
    lines = ["    engine:"]
    if several:
        lines += comment("The gateway calls the other hosts over the network.", 6)
        lines.append("      key: {env: SLIPWAY_ENGINE_KEY}")
    if deployment.cpu_kv_cache_gib is not None:
        lines += comment(f"In the host's memory, beside {deployment.weights_gb:.1f} GB of weights.", 6)
        lines.append(f"      cpu_kv_cache_gib: {deployment.cpu_kv_cache_gib}")
    lines += _parallel(deployment)
    if request.quantization is not None:
        lines += comment("The plan's: the engine makes it as it loads the weights.", 6)
        lines.append(f"      quantization: {scalar(request.quantization)}")
    if request.kv_cache_dtype != "auto":
        lines += [*comment("The plan's.", 6), f"      kv_cache_dtype: {scalar(request.kv_cache_dtype)}"]
    if memory is not None:
        lines += comment(
            f"Of the {memory.total.value:.1f} GiB of a GPU, weights take {memory.weights.value:.1f} and the KV cache gets "
            f"{memory.kv_cache.value:.1f}.",
            6,
        )
        lines.append(f"      gpu_memory_utilization: {request.gpu_memory_utilization}")
    lines += comment(_seqs_text(deployment), 6)
    lines.append(f"      max_num_seqs: {request.max_num_seqs}")
    if deployment.start_timeout_s is not None:
        lines += comment(f"{deployment.weights_gb:.0f} GB of weights take their time from a slow disk or share.", 6)
        lines.append(f"      start_timeout_s: {deployment.start_timeout_s}")
    lines += _parsers(deployment.model)
    return lines


def _parallel(deployment: Deployment) -> list[str]:
    request, copies = deployment.sizing.request, deployment.copies
    if deployment.hardware.gpus <= 1:
        return []
    ranks, groups = request.tensor_parallel or 1, request.pipeline_parallel or 1
    lines = []
    if copies > 1:
        each = f"{ranks * groups} GPUs" if ranks * groups > 1 else "one GPU"
        told = f"The plan's: {copies} copies of the model on a host, each on {each}; the engine hands requests to them."
        lines += [*comment(told, 6), f"      data_parallel: {copies}"]
    whose = "copy" if copies > 1 else "host"
    if groups > 1:
        told = f"The model's shapes do not go on {ranks * groups} GPUs at once: {groups} groups share the layers."
    else:
        told = f"The {ranks} GPUs of a {whose} share every layer." if ranks > 1 else ""
    lines += [*(comment(told, 6) if told else []), f"      tensor_parallel: {ranks}"]
    return [*lines, f"      pipeline_parallel: {groups}"] if groups > 1 else lines


def _seqs_text(deployment: Deployment) -> str:
    request, planned = deployment.sizing.request, deployment.planned
    tokens = longest(request.context or 1, deployment.output_tokens)
    room = (
        f"the KV cache of {deployment.sizing.kv_cache_tokens:,} tokens holds {deployment.room} completions of {tokens:,}, the "
        "longest that clients are told to ask for"
    )
    if deployment.hardware.gpu is None:
        return f"Requests at once. A CPU shares its arithmetic among all who ask; {room}."
    each = ", of each copy," if deployment.copies > 1 else ""
    if planned is not None and request.max_num_seqs == planned.at_once:
        return f"Requests at once{each} with which the plan's targets hold; {room}."
    return f"Requests at once{each.removesuffix(',')}; {room}."


def _parsers(model: Model) -> list[str]:
    tool, reasoning = model.parsers.tool_call, model.parsers.reasoning
    if tool is None and reasoning is None:
        return []
    lines = ["      flags:", *comment("The formats in which this model writes tool calls and reasoning.", 8)]
    if tool is not None:
        lines += ["        enable-auto-tool-choice: true", f"        tool-call-parser: {scalar(tool)}"]
    if reasoning is not None:
        lines.append(f"        reasoning-parser: {scalar(reasoning)}")
    return lines


def _gateway(deployment: Deployment, access: Access) -> list[str]:
    lines = ["    gateway:", "      keys:"]
    lines += comment(
        "One key a team, taken from the environment; `pulumi config set --secret --path` keeps it encrypted in this file "
        "instead.",
        8,
    )
    planned = deployment.planned
    for number, team in enumerate(access.teams):
        variable = f"SLIPWAY_KEY_{team.upper().replace('-', '_')}"
        lines += [f"        - team: {scalar(team)}", f"          key: {{env: {variable}}}"]
        if planned is not None:
            if number == 0:
                lines += comment(f"An equal part of the {_rate(planned)} requests/min that the plan counts on.", 10)
            lines.append(f"          requests_per_minute: {planned.requests_per_minute}")
        elif number == 0:
            lines += comment("Without a limit, one team can take all:", 10)
            lines.append("          # requests_per_minute: 600")
    return lines


def _rate(planned: Planned) -> int:
    return int(planned.option.capacity.expected * 60)


def _open_ends() -> list[str]:
    return [
        *comment("The name in the site's DNS for URL and certificate; without it, the first host's address:", 4),
        "    # front:",
        "    #   server_name: llm.example.com",
        *comment("The networks that clients are in; without them, whoever has a key may come from anywhere:", 4),
        "    # security:",
        "    #   allowed_networks: [10.0.0.0/8]",
    ]
