"""Ansible action: module stored_files, for models in S3 with addresses that this machine has just signed.

It runs where the `up` runs, with that machine's AWS credentials, and does not ask the store: hosts do. Only credentials that have
to be fetched themselves (a role, single sign-on) are asked for. A round has addresses of its own, so a transfer may take longer
than one lives. Where nothing can be signed the module is told why, and says it only if there is something to fetch.
"""

from __future__ import annotations

import os
from typing import Any

from ansible.plugins.action import ActionBase

EXPIRES_S = 900
"""A round takes seconds, but may wait for another run's on the host."""

_HOW = (
    "log in (aws sso login), name a profile in source.profile or AWS_PROFILE, or set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, then repeat"
)


def signed(source: dict[str, Any]) -> dict[str, Any]:
    """What the module is told more: ``signed``, an address of each file, or ``unsigned``, why there are none."""
    try:
        import boto3
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ProfileNotFound
    except ImportError:
        return _unsigned(source, "boto3 is not in its Python environment", "set it up anew (make setup)")
    endpoint = source.get("endpoint")
    bucket, _, prefix = str(source["url"]).removeprefix("s3://").rstrip("/").partition("/")
    config = Config(
        signature_version="s3v4",
        # A store of one's own seldom has a name for each bucket; and "auto" signs for S3 as a whole, which redirects.
        s3={"addressing_style": "path" if endpoint else "virtual", "use_accelerate_endpoint": False},
        # It is the stack that says where, and not the machine's configuration.
        ignore_configured_endpoint_urls=True,
        use_dualstack_endpoint=False,
        use_fips_endpoint=False,
    )
    try:
        core = botocore.session.Session(profile=source.get("profile"))
        # It would ask at the terminal, and wait for somebody who does not know of it. There is no public way to say no.
        core.get_component("credential_provider").get_provider("assume-role")._prompter = _nobody  # noqa: SLF001
        client = boto3.Session(botocore_session=core, region_name=source["region"]).client(
            "s3", endpoint_url=endpoint, config=config
        )
        return {
            "signed": {
                name: client.generate_presigned_url(
                    "get_object",
                    Params={"Bucket": bucket, "Key": f"{prefix}/{name}" if prefix else name},
                    ExpiresIn=EXPIRES_S,
                )
                for name in source["sha256sums"]
            }
        }
    except _MfaError:
        return _unsigned(
            source,
            "its AWS profile asks for the code of an MFA device",
            "log in first, and pass the session by AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, then repeat",
        )
    except NoCredentialsError:
        return _unsigned(source, "it has no AWS credentials", _HOW)
    except ProfileNotFound:
        return _unsigned(
            source, f"its AWS configuration has no profile {source.get('profile') or 'of AWS_PROFILE'}", _HOW
        )
    except (BotoCoreError, ClientError, ValueError) as error:
        return _unsigned(source, str(error).strip().splitlines()[0].rstrip("."), _HOW)


class _MfaError(Exception):
    """A code is asked for, and nobody is there."""


def _nobody(_: str) -> str:
    raise _MfaError


def _unsigned(source: dict[str, Any], why: str, mend: str) -> dict[str, Any]:
    return {
        "unsigned": (
            f"{source['url']} can't be read: the machine that runs the `up` has to sign the addresses of its files, and {why}; "
            f"{mend}"
        )
    }


def _given(task_vars: dict[str, Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = (task_vars or {}).get("playbook_environment") or {}
    return found


class ActionModule(ActionBase):
    """One round."""

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Signs, where there is something to sign, and has the module do its work on the host."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        # This process is the task's own. The plugin of Pulumi hands over what boto3 looks for in it.
        os.environ.update({str(name): str(value) for name, value in _given(task_vars).items()})
        source = arguments.get("source")
        if isinstance(source, dict) and source.get("kind") == "s3" and not self._task.check_mode:
            arguments |= signed(source)
        return {
            **result,
            **self._execute_module(module_name="stored_files", module_args=arguments, task_vars=task_vars),
        }
