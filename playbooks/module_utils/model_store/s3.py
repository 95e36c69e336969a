"""Files of a bucket in S3, or in a store that speaks its protocol, by addresses that were signed elsewhere.

Who signs is the machine that runs the `up` (`action_plugins/stored_files.py`): no key reaches this host, and an address dies
after some minutes. A HEAD that is refused says no reason, so how large a file is, and why it does not come, is asked by a GET of
one byte.
"""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .base import PATIENCE_S
from .manifest import Files, StoreError
from .web import Web

_ASKED_AT_ONCE = 8
_TRIES = 3
_BUSY = frozenset({500, 502, 503, 504})
_SIZE = re.compile(r"bytes 0-0/(\d+)")
_CODE, _MESSAGE = re.compile(r"<Code>([A-Za-z0-9.]{1,80})</Code>"), re.compile(r"<Message>([^<]{1,300})</Message>")
_MARGIN_S = 60
"""An address that dies so soon is not used any more."""
_EXPIRED = "the signed address had expired; look at the clock of the machine that runs the `up`, by which it was signed"

_KEYS = "look at the AWS credentials of the machine that runs the `up` (source.profile, AWS_PROFILE)"
_REASONS = {
    "NoSuchBucket": ("there is no such bucket", "look at source.s3, and at the region or endpoint"),
    "NoSuchKey": (
        "there is no such key in the bucket",
        "look at the prefix in source.s3 and the names in source.sha256",
    ),
    "AccessDenied": (
        "access is denied, which S3 also says of a key that is not there to whoever may not list the bucket",
        "let the credentials of the machine that runs the `up` have s3:GetObject on it, and look at the prefix",
    ),
    "InvalidAccessKeyId": ("the store does not know the access key", _KEYS),
    "SignatureDoesNotMatch": ("the signature is not the one that belongs to the access key", _KEYS),
    "ExpiredToken": ("the credentials that signed have expired", "log in again (aws sso login)"),
    "InvalidToken": ("the credentials that signed are not valid", "log in again (aws sso login)"),
    "RequestTimeTooSkewed": ("the store's clock is another", "set the clock of the machine that runs the `up`"),
    "InvalidObjectState": ("it is archived", "restore it in S3 first"),
    "KMS.DisabledException": ("the key that it is encrypted with is disabled", "enable it in KMS"),
}
_REGION = frozenset(
    {
        "PermanentRedirect",
        "TemporaryRedirect",
        "Redirect",
        "AuthorizationHeaderMalformed",
        "AuthorizationQueryParametersError",
        "IllegalLocationConstraintException",
    }
)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An address is signed for one server."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Bucket(Web):
    """Files below a prefix of a bucket, each of which the stack knows by its SHA-256."""

    FOLLOWS = False

    def __init__(self, address: str, sums: dict[str, str], signed: dict[str, str], unsigned: str = "") -> None:
        super().__init__(dict(signed), {name: {"sha256": sums[name]} for name in sums})
        self._address, self._unsigned = address.rstrip("/"), unsigned
        self._began = time.monotonic()

    def called(self, name: str) -> str:
        """By its bucket and key."""
        return f"{self._address}/{name}"

    def files(self) -> Files:
        """With the sizes that the store tells."""
        self._expect_signed()
        names = sorted(self._files)
        with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
            sizes = list(pool.map(self._size, names))
        return {name: {"size": size, **self._files[name]} for name, size in zip(names, sizes)}

    def bring(self, names: list[str], folder: Path, seconds: float) -> str:
        """As of any web server, but with nothing that is about to expire."""
        self._expect_signed()
        if any(time.monotonic() - self._began > _lifetime(self._urls[name]) - _MARGIN_S for name in names):
            return "this round had to wait for longer than its signed addresses live"
        return super().bring(names, folder, seconds)

    def _expect_signed(self) -> None:
        if self._unsigned or not self._files.keys() <= self._urls.keys():
            raise StoreError(self._unsigned or f"no address of {self._address} was signed; run the `up` again")

    def _refused(self, name: str, status: str, reason: str) -> str:  # noqa: ARG002 -- as the others
        """Asks the store why, since curl does not tell; what is only late is for the next round, with new addresses."""
        try:
            self._size(name)
        except _LateError as late:
            return str(late)
        return f"{self.called(name)}: {reason}"

    def _size(self, name: str) -> int:
        for left in reversed(range(_TRIES)):
            status, headers, said = self._asked(name)
            if status not in _BUSY or not left:
                break
            time.sleep(1)
        size = _SIZE.match(headers.get("Content-Range", ""))
        if status == 206 and size is not None:
            return int(size[1])
        if status == 416:
            return 0  # the first byte is missing only where there is none
        if status == 200 and headers.get("Content-Length", "").isdigit():
            return int(headers["Content-Length"])
        raise self._reason(name, status, headers, said)

    def _asked(self, name: str) -> tuple[int, Any, str]:
        """Status, headers and the beginning of what is said, where that is no part of the file."""
        # Compressed, a length would be another one.
        asked = urllib.request.Request(  # noqa: S310 -- botocore made it, of an address that the settings have looked at
            self._urls[name], headers={"Range": "bytes=0-0", "Accept-Encoding": "identity"}
        )
        try:
            with urllib.request.build_opener(_NoRedirect).open(asked, timeout=PATIENCE_S) as reply:
                return reply.status, reply.headers, ""
        except urllib.error.HTTPError as error:
            with error:
                try:
                    return error.code, error.headers, error.read(4096).decode(errors="replace")
                except (OSError, http.client.HTTPException):
                    return error.code, error.headers, ""
        except (OSError, ValueError, http.client.HTTPException) as error:
            why = getattr(error, "reason", "") or type(error).__name__
        raise StoreError(
            f"{urllib.parse.urlsplit(self._urls[name]).netloc}, which has {self.called(name)}, does not answer this host: {why}; "
            "look at the region or endpoint, and at the network between them"
        ) from None

    def _reason(self, name: str, status: int, headers: Any, said: str) -> StoreError:
        code, message = _CODE.search(said), _MESSAGE.search(said)
        known = code[1] if code else {404: "NoSuchKey", 403: "AccessDenied"}.get(status, "")
        region = headers.get("x-amz-bucket-region", "")
        if known == "AccessDenied" and message is not None and "expired" in message[1].lower():
            return _LateError(f"{self.called(name)}: {_EXPIRED}")
        if status in _BUSY:
            return _LateError(
                f"{self.called(name)} does not come: the store answers {status}; repeat when it has less to do"
            )
        if known in _REGION or status in {301, 307}:
            where = (
                f"the bucket is in {region}"
                if re.fullmatch(r"[a-z0-9-]+", region)
                else "the bucket is in another region"
            )
            what, mend = where, "give its region in source.region"
        else:
            unknown = (f"the store answers {status} {known}".rstrip(), "look at the store's own log, and at source.s3")
            what, mend = _REASONS.get(known, unknown)
        return StoreError(f"{self.called(name)} does not come: {what}; {mend}, then repeat: what has come is kept")


class _LateError(StoreError):
    """It may work in the next round."""


def _lifetime(url: str) -> float:
    told = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query).get("X-Amz-Expires", ["600"])[0]
    return float(told) if told.isdigit() else 600.0
