"""Bodies of requests: which model they ask for, and the same body with the name that a backend knows the model by."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from slipway_gateway.answers import Refusal


@dataclass(frozen=True)
class Json:
    """A JSON body.

    Attributes:
        raw: its bytes.
        data: what they say.
    """

    raw: bytes
    data: dict[str, Any]
    content_type = "application/json"

    @property
    def model(self) -> str:
        """The model that is asked for."""
        return _model(self.data.get("model"))

    @property
    def stream(self) -> bool:
        """Whether the answer is to be streamed."""
        return self.data.get("stream") is True

    def asking(self, model: str) -> tuple[bytes, str]:
        """The body, and its content type, asking for `model`; the same bytes if it does already."""
        if self.data.get("model") == model:
            return self.raw, self.content_type
        return json.dumps({**self.data, "model": model}).encode(), self.content_type


@dataclass(frozen=True)
class File:
    """A file in a form."""

    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True)
class Form:
    """A multipart form.

    It is always written anew, so that nothing downstream can read another model in it than was read here.
    """

    fields: tuple[tuple[str, str | File], ...]

    @property
    def model(self) -> str:
        """The model that is asked for."""
        return _model(self._only("model"))

    @property
    def stream(self) -> bool:
        """Whether the answer is to be streamed."""
        return str(self._only("stream")).lower() in {"true", "1"}

    @property
    def data(self) -> dict[str, Any]:
        """The fields by their names."""
        return dict(self.fields)

    def asking(self, model: str) -> tuple[bytes, str]:
        """The body, and its content type, asking for `model`."""
        boundary = secrets.token_hex(16)
        parts = []
        for name, value in self.fields:
            content = model if name == "model" else value
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"'
            if isinstance(content, File):
                head += f'; filename="{_quoted(content.name)}"\r\nContent-Type: {content.content_type}'
            parts += [head.encode(), b"\r\n\r\n", content.content if isinstance(content, File) else content.encode()]
            parts.append(b"\r\n")
        return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"

    def _only(self, name: str) -> str | File | None:
        values = [value for field, value in self.fields if field == name]
        if len(values) > 1:
            raise Refusal(400, f"The form has more than one field '{name}'.", "invalid_form", param=name)
        return values[0] if values else None


Body = Json | Form


def alone(body: Body) -> Body:
    """A request to /v1/responses that neither leaves a response behind nor needs one.

    Whoever keeps responses, an engine or a provider, knows nothing of teams: one team could read on in what is another's.

    Raises:
        Refusal: 400: it goes on with a response that was kept, or is to run on by itself.
    """
    if body.data.get("previous_response_id") is not None:
        raise Refusal(
            400,
            "No responses are kept here, so none can be gone on with: send the whole conversation in 'input'.",
            "previous_response_not_found",
            param="previous_response_id",
        )
    if body.data.get("background"):
        raise Refusal(
            400,
            "No responses are kept here, so none can be made in the background: stream it.",
            "unsupported_parameter",
            param="background",
        )
    if isinstance(body, Form) or body.data.get("store") is False:
        return body
    data = {**body.data, "store": False}
    return Json(json.dumps(data).encode(), data)


async def read(raw: bytes, content_type: str) -> Body:
    """What a request's body says.

    Raises:
        Refusal: 400: it is neither a JSON object nor a form.
    """
    if content_type.partition(";")[0].strip().lower() == "multipart/form-data":
        return await _form(raw, content_type)
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        raise Refusal(400, "The body is not valid JSON.", "invalid_json") from None
    if not isinstance(data, dict):
        raise Refusal(400, "The body is no JSON object.", "invalid_json")
    return Json(raw, data)


async def _form(raw: bytes, content_type: str) -> Form:
    from python_multipart.exceptions import FormParserError
    from starlette.datastructures import Headers, UploadFile
    from starlette.formparsers import MultiPartException, MultiPartParser

    async def chunks() -> AsyncIterator[bytes]:
        yield raw

    try:
        parser = MultiPartParser(Headers({"content-type": content_type}), chunks(), max_part_size=len(raw))
        parser.spool_max_size = len(raw) + 1  # in memory: what people say is not written to a disk
        form = await parser.parse()
    except (MultiPartException, FormParserError, KeyError, UnicodeError):
        raise Refusal(400, "The body is no valid multipart form.", "invalid_form") from None
    fields: list[tuple[str, str | File]] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            kind = value.content_type or "application/octet-stream"
            fields.append((name, File(value.filename or "", _line(kind), await value.read())))
        else:
            fields.append((name, value))
    return Form(tuple(fields))


def _model(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise Refusal(
            400, "The field 'model' is missing: name the model that is to answer.", "missing_model", param="model"
        )
    return value


def _line(text: str) -> str:
    return text.replace("\r", "").replace("\n", "")


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
