"""Ansible action: module stored_files, for models in S3 with addresses that this machine has just signed.

It runs where the `up` runs, with that machine's AWS credentials, and asks nobody: hosts ask the store. A round has addresses of
its own, so a transfer may take longer than one lives. Where nothing can be signed the module is told why, and says it only if
there is something to fetch.
"""

from __future__ import annotations

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
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ProfileNotFound
    except ImportError:
        return _unsigned(source, "boto3 is not in its Python environment", "set it up anew (make setup)")
    endpoint = source.get("endpoint")
    bucket, _, prefix = str(source["url"]).removeprefix("s3://").rstrip("/").partition("/")
    config = Config(
        signature_version="s3v4",
        # A store of one's own seldom has a name for each bucket; and "auto" signs for S3 as a whole, which redirects.
        s3={"addressing_style": "path" if endpoint else "virtual"},
        # It is the stack that says where.
        ignore_configured_endpoint_urls=True,
    )
    try:
        session = boto3.Session(profile_name=source.get("profile"), region_name=source["region"])
        client = session.client("s3", endpoint_url=endpoint, config=config)
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
    except NoCredentialsError:
        return _unsigned(source, "it has no AWS credentials", _HOW)
    except ProfileNotFound:
        return _unsigned(
            source, f"its AWS configuration has no profile {source.get('profile') or 'of AWS_PROFILE'}", _HOW
        )
    except (BotoCoreError, ClientError, ValueError) as error:
        return _unsigned(source, str(error).strip().splitlines()[0].rstrip("."), _HOW)


def _unsigned(source: dict[str, Any], why: str, mend: str) -> dict[str, Any]:
    return {
        "unsigned": (
            f"{source['url']} can't be read: the machine that runs the `up` has to sign the addresses of its files, and {why}; "
            f"{mend}"
        )
    }


class ActionModule(ActionBase):
    """One round."""

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Signs, where there is something to sign, and has the module do its work on the host."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        source = arguments.get("source")
        if isinstance(source, dict) and source.get("kind") == "s3" and not self._task.check_mode:
            arguments |= signed(source)
        return {
            **result,
            **self._execute_module(module_name="stored_files", module_args=arguments, task_vars=task_vars),
        }
