"""The gRPC stubs of Pulumi's language protocol, without the rest of the SDK.

`import pulumi` takes 0.4 s, and a language host is started by every command. The stubs need nothing of the SDK, so its
parent packages are entered as empty ones before the stubs are imported: 0.13 s, most of it gRPC itself. This holds
for the host's process alone, which runs no program; where the SDK is loaded already, nothing is replaced.
"""

import importlib.util
import sys
import types
from pathlib import Path

_PARENTS = ("pulumi", "pulumi.runtime", "pulumi.runtime.proto")


def _enter_empty_parents() -> None:
    if "pulumi" in sys.modules:
        return
    spec = importlib.util.find_spec("pulumi")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("The Pulumi SDK is not installed for this Python: install the project's requirements first.")
    root = Path(next(iter(spec.submodule_search_locations))).parent
    for name in _PARENTS:
        module = types.ModuleType(name)
        module.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[name] = module


_enter_empty_parents()

from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2  # noqa: E402

__all__ = ["language_pb2", "language_pb2_grpc", "plugin_pb2"]
