"""A stack's file as text: complete, with comments that say why, each true for what is drafted."""

from __future__ import annotations

from slipway.catalog import Model
from slipway.scaffold.draft import Draft, Planned, longest
from slipway.scaffold.hosts import Access, Place
from slipway.scaffold.scalars import WIDTH, comment, scalar
from slipway.settings.gateway import key_variable

SCHEMA = "# yaml-language-server: $schema=../docs/reference/stack.schema.json"
_MODELS = "/srv/models"


def stack_text(stack: str, draft: Draft, access: Access, catalog_file: str | None = None) -> str:
    """The whole of `stacks/Pulumi.STACK.yaml`. `catalog_file` is the user's own catalogue, if any."""
    lines = [SCHEMA, "#", *_head(stack, draft, access), "config:", "  slipway:platform:"]
    if catalog_file is not None:
        lines += [*comment("Entries of your own that the names below may come from.", 4)]
        lines += [f"    catalog: {scalar(catalog_file)}"]
    lines += _pool(stack, draft, access)
    lines += _model(draft)
    lines += _gateway(draft, access)
    lines += _open_ends()
    return "\n".join(lines) + "\n"


def _head(stack: str, draft: Draft, access: Access) -> list[str]:
    count = len(access.places)
    hardware = draft.hardware
    what = "a GPU" if hardware.gpu is None else hardware.told
    whose = "hosts' addresses," if count > 1 else "host's address,"
    with_ = "without" if hardware.gpu is None else "with"
    text = f"{f'{count} hosts' if count > 1 else 'One host'} {with_} {what}{' each' if count > 1 else ''}: "
    copies = f"{draft.copies} copies" if draft.copies > 1 else "a copy"
    if count > 1:
        text += f"{copies} of {draft.model.id} on each, behind one gateway, which goes on while one of them is away. "
    else:
        text += f"{f'{copies} of ' if draft.copies > 1 else ''}{draft.model.id}. "
    text += f"`slipway init` computed the figures; `slipway check {stack}` computes them again after a change. "
    text += f"Put the {whose} user and SSH key below, then:" if access.placeholders else "To deploy:"
    lines = comment(text)
    lines.append(f'#   eval "$(slipway env {stack})" && pulumi up --stack {stack}')
    if draft.planned is not None:
        lines += ["#", *comment(_plan_text(draft.planned))]
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


def _pool(stack: str, draft: Draft, access: Access) -> list[str]:
    name = "cpu" if draft.hardware.gpu is None else "gpu"
    return ["    pools:", f"      {name}:", *_hardware(draft), *_hosts(stack, access)]


def _hardware(draft: Draft) -> list[str]:
    hardware = draft.hardware
    if hardware.tier is not None:
        each = "no GPU" if hardware.gpu is None else f"{hardware.told} a host"
        told = f"From the catalogue: {each}, and what preflight demands of disk and memory."
        return [*comment(told, 8), f"        tier: {scalar(hardware.tier.id)}"]
    lines = []
    if hardware.gpu is not None:
        lines += comment(f"{hardware.told} a host. Preflight counts them before anything is changed.", 8)
        lines += [f"        gpu: {scalar(hardware.gpu.id)}", f"        gpus: {hardware.gpus}"]
    if hardware.memory_gib is not None:
        lines += comment(f"The instance type has {hardware.memory_gib:g} GiB; firmware and kernel keep some.", 8)
        lines.append(f"        min_memory_gib: {hardware.usable_gib}")
    return lines


def _hosts(stack: str, access: Access) -> list[str]:
    lines = ["        hosts:"]
    several = len(access.places) > 1
    if access.placeholders:
        them = "are addresses that reach" if several else "is an address that reaches"
        joined = ", ".join(other.address for other in access.places[:-1])
        last = access.places[-1].address
        lines += comment(f"Replace: {f'{joined} and {last}' if several else last} {them} nobody.", 10)
    told = "Slipway logs in as this user, which may use sudo without a password."
    if access.key_file is None:
        told += " No key_file: the SSH agent is asked for a key."
    if several:
        told += " Engines listen on the private addresses and nowhere else; gateway and front are on the first host."
    lines += comment(told, 10)
    label = stack.lower().replace("_", "-").strip("-")[:50].rstrip("-")
    for number, place in enumerate(access.places, 1):
        lines += _host(scalar(f"{label}-{number}"), place, access)
    return lines


def _host(name: str, place: Place, access: Access) -> list[str]:
    """On one line where there is room for it."""
    given = {
        "address": place.address,
        "private_address": place.private_address,
        "user": access.user,
        "key_file": access.key_file,
    }
    pairs = [f"{key}: {scalar(value)}" for key, value in given.items() if value is not None]
    line = f"          {name}: {{{', '.join(pairs)}}}"
    return [line] if len(line) <= WIDTH else [f"          {name}:", *(f"            {pair}" for pair in pairs)]


def _model(draft: Draft) -> list[str]:
    model, request = draft.model, draft.sizing.request
    name = model.id.rpartition("/")[2]
    lines = ["    models:", *comment("The name in clients' requests.", 6), f"      {scalar(name.lower())}:"]
    lines += comment("What the sizing goes by, since the files are not on this machine.", 8)
    lines.append(f"        catalog: {scalar(model.id)}")
    lines += comment(
        "The folder with the model's files on each host; put them there. Other ways: path, mirror, s3, hub "
        "(docs/reference/settings.md).",
        8,
    )
    lines.append(f"        source: {{host_path: {scalar(f'{_MODELS}/{name}')}}}")
    lines += comment(
        f"In tokens, prompt and completion together; the model takes up to {model.context:,}. The KV cache of a "
        f"{'copy' if draft.copies > 1 else 'host'} holds {draft.sizing.max_concurrency:.1f} requests of this length.",
        8,
    )
    lines.append(f"        max_model_len: {request.context}")
    if draft.output_tokens is not None and draft.planned is not None:
        usual = draft.planned.load.output_tokens
        lines += comment(
            f"The longest completion that clients are told to ask for; those of the plan have {usual} tokens on average.",
            8,
        )
        lines.append(f"        max_output_tokens: {draft.output_tokens}")
    if model.trust_remote_code:
        lines += comment(
            "The model comes with Python code of its own, and the engine refuses it until this is set; read that code first.",
            8,
        )
        lines.append("        # trust_remote_code: true")
    return [*lines, *_engine(draft)]


def _engine(draft: Draft) -> list[str]:
    request, memory = draft.sizing.request, draft.sizing.memory
    lines = ["        engine:"]
    if draft.cpu_kv_cache_gib is not None:
        lines += comment(f"In the host's memory, beside {draft.weights_gb:.1f} GB of weights.", 10)
        lines.append(f"          cpu_kv_cache_gib: {draft.cpu_kv_cache_gib}")
    lines += _parallel(draft)
    if request.quantization is not None:
        lines += comment("The plan's: the engine makes it as it loads the weights.", 10)
        lines.append(f"          quantization: {scalar(request.quantization)}")
    if request.kv_cache_dtype != "auto":
        lines += [*comment("The plan's.", 10), f"          kv_cache_dtype: {scalar(request.kv_cache_dtype)}"]
    if memory is not None:
        lines += comment(
            f"Of the {memory.total.value:.1f} GiB of a GPU, weights take {memory.weights.value:.1f} and the KV cache gets "
            f"{memory.kv_cache.value:.1f}.",
            10,
        )
        lines.append(f"          gpu_memory_utilization: {request.gpu_memory_utilization}")
    lines += comment(_seqs_text(draft), 10)
    lines.append(f"          max_num_seqs: {request.max_num_seqs}")
    if draft.start_timeout_s is not None:
        lines += comment(f"{draft.weights_gb:.0f} GB of weights take their time from a slow disk or share.", 10)
        lines.append(f"          start_timeout_s: {draft.start_timeout_s}")
    return [*lines, *_parsers(draft.model)]


def _parallel(draft: Draft) -> list[str]:
    request, copies = draft.sizing.request, draft.copies
    if draft.hardware.gpus <= 1:
        return []
    ranks, groups = request.tensor_parallel or 1, request.pipeline_parallel or 1
    lines = []
    if copies > 1:
        each = f"{ranks * groups} GPUs" if ranks * groups > 1 else "one GPU"
        told = f"The plan's: {copies} copies of the model on a host, each on {each}; the engine hands requests to them."
        lines += [*comment(told, 10), f"          data_parallel: {copies}"]
    whose = "copy" if copies > 1 else "host"
    if groups > 1:
        told = f"The model's shapes do not go on {ranks * groups} GPUs at once: {groups} groups share the layers."
    else:
        told = f"The {ranks} GPUs of a {whose} share every layer." if ranks > 1 else ""
    lines += [*(comment(told, 10) if told else []), f"          tensor_parallel: {ranks}"]
    return [*lines, f"          pipeline_parallel: {groups}"] if groups > 1 else lines


def _seqs_text(draft: Draft) -> str:
    request, planned = draft.sizing.request, draft.planned
    tokens = longest(request.context or 1, draft.output_tokens)
    room = (
        f"the KV cache of {draft.sizing.kv_cache_tokens:,} tokens holds {draft.room} completions of {tokens:,}, the "
        "longest that clients are told to ask for"
    )
    if draft.hardware.gpu is None:
        return f"Requests at once. A CPU shares its arithmetic among all who ask; {room}."
    each = ", of each copy," if draft.copies > 1 else ""
    if planned is not None and request.max_num_seqs == planned.at_once:
        return f"Requests at once{each} with which the plan's targets hold; {room}."
    return f"Requests at once{each.removesuffix(',')}; {room}."


def _parsers(model: Model) -> list[str]:
    tool, reasoning = model.parsers.tool_call, model.parsers.reasoning
    if tool is None and reasoning is None:
        return []
    lines = ["          flags:", *comment("The formats in which this model writes tool calls and reasoning.", 12)]
    if tool is not None:
        lines += ["            enable-auto-tool-choice: true", f"            tool-call-parser: {scalar(tool)}"]
    if reasoning is not None:
        lines.append(f"            reasoning-parser: {scalar(reasoning)}")
    return lines


def _gateway(draft: Draft, access: Access) -> list[str]:
    lines = ["    gateway:"]
    if len(access.places) > 1:
        lines += comment("With which the gateway calls the other hosts' engines over the network.", 6)
        lines.append("      engine_key: {env: SLIPWAY_ENGINE_KEY}")
    lines.append("      teams:")
    lines += comment(
        "One key a team, taken from the environment; `pulumi config set --secret --path` keeps it encrypted in this file "
        "instead.",
        8,
    )
    planned = draft.planned
    if planned is not None:
        lines += comment(f"To each team an equal part of the {_rate(planned)} requests/min that the plan counts on.", 8)
    else:
        lines += comment("Without requests_per_minute, such as 600, one team can take all.", 8)
    for team in access.teams:
        limit = "" if planned is None else f", requests_per_minute: {planned.requests_per_minute}"
        lines.append(f"        {scalar(team)}: {{key: {{env: {key_variable(team)}}}{limit}}}")
    return lines


def _rate(planned: Planned) -> int:
    return int(planned.option.capacity.expected * 60)


def _open_ends() -> list[str]:
    return [
        "    # front:",
        *comment("The name in the site's DNS for URL and certificate; without it, the first host's address:", 4),
        "    #   server_name: llm.example.com",
        *comment("The networks that clients are in; without them, whoever has a key may come from anywhere:", 4),
        "    #   allowed_networks: [10.0.0.0/8]",
    ]
