"""nginx's adapter, beside the role of the same name."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.fronts.nginx.launch import ADAPTER
from tests.unit.deployment.stacks import deployment, roles
from tests.unit.settings.documents import good, many


def test_the_private_authority_is_where_the_role_keeps_it(root: Path) -> None:
    variables = yaml.safe_load((root / "playbooks/roles/nginx/vars/main.yml").read_text())
    assert variables["nginx_certificate_settings"]["folder"] == "{{ nginx_folder }}/tls"
    program = (root / "playbooks/roles/nginx/files/certificate.py").read_text()
    folder, _, file = ADAPTER.ca_file.rpartition("/")
    assert folder == f"{variables['nginx_folder']}/tls"
    assert f'keep(settings, "{file}"' in program


def test_its_other_units_are_no_models(root: Path) -> None:
    templates = (root / "playbooks/roles/nginx/templates").glob("slipway-*.j2")
    units = {path.name.removeprefix("slipway-").split(".")[0] for path in templates}
    assert units == {"nginx", *ADAPTER.takes}


@pytest.mark.parametrize(("document", "machine"), [(good(), "gpu-1"), (many(), "edge-1")])
def test_a_second_gateway_does_not_change_its_unit(document: dict[str, Any], machine: str) -> None:
    units = ["slipway-litellm.service", "slipway-litellm-private.service"]
    assert roles(deployment(document))[f"{machine}/nginx"]["nginx_after"] == units
