"""Python files of the playbooks, which are no package, as modules."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import ansible.module_utils

PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"
# Where Ansible finds them too, when it bundles a module for a host.
ansible.module_utils.__path__.append(str(PLAYBOOKS / "module_utils"))


def load(path: str) -> ModuleType:
    """Import a file below playbooks/ by its path."""
    file = PLAYBOOKS / path
    name = f"playbooks_{file.stem}"
    specification = importlib.util.spec_from_file_location(name, file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look their module up by its name
    specification.loader.exec_module(module)
    return module
