"""The bytes of a GGUF header: metadata and what is said of each tensor. Never the weights.

The file is not trusted: it may be cut short, or made to harm. Nothing is allocated by a number that stands in the file:
texts are kept up to `_LONGEST_TEXT`, lists up to `_LONGEST_LIST` numbers, and of what is longer, such as a vocabulary, only
the length. `slipway.sizing.gguf.model` says what the values mean.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO, NamedTuple, NoReturn

from slipway.sizing.gguf.format import ALIGNMENT, GGML_TYPES, MAGIC, STRUCTS, VERSIONS, Value
from slipway.sizing.result import SizingError

_LONGEST_NAME = 65_535  # of a key; a tensor's has 64 bytes in llama.cpp
_LONGEST_TEXT = 4 << 20  # chat templates of 100 KB are in use
_LONGEST_LIST = 1024  # llama.cpp has 512 layers at most, and lists of a number for each
_MOST_KEYS = 16_384
_MOST_TENSORS = 131_072
_MOST_TEXT_BYTES = 32 << 20  # of all that is kept together
_MOST_HEADER = 1 << 29  # bytes; a vocabulary of 260,000 with its merges takes 10 MB
_MOST_DIMENSIONS = 4
_CHUNK = 1 << 16
_MOST = (1 << 63) - 1
_MEND = "download it again, or name a GGUF file"


class Skipped(NamedTuple):
    """A list that was too long to keep, or one of texts."""

    length: int


Metadata = str | bool | int | float | tuple[int | float | bool, ...] | Skipped


class Tensor(NamedTuple):
    """One tensor as the header describes it."""

    name: str
    shape: tuple[int, ...]
    """As in the file: the elements of a row first."""
    type: int
    """Number in `GGML_TYPES`."""
    offset: int
    """Bytes from `Header.data`."""

    @property
    def elements(self) -> int:
        """Numbers in it."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def bytes(self) -> int:
        """Bytes of its data."""
        return GGML_TYPES[self.type].size(self.elements)


@dataclass(frozen=True, kw_only=True)
class Header:
    """One file's header."""

    version: int
    metadata: Mapping[str, Metadata]
    tensors: tuple[Tensor, ...]
    data: int
    """Offset in the file at which the tensors' data begin."""

    @property
    def end(self) -> int:
        """Bytes that the file must have for all of its tensors."""
        return max((self.data + tensor.offset + tensor.bytes for tensor in self.tensors), default=self.data)


def read_header(stream: BinaryIO, name: str) -> Header:
    """Read a header from the beginning of `stream`.

    Args:
        stream: Open for reading bytes; it need not be seekable, and what follows the header is not read.
        name: Of the file, for messages.

    Raises:
        SizingError: It is no GGUF file, of a version that is not known, cut short or faulty: what, the consequence, the mend.
    """
    return _Reader(stream, name).header()


class _Reader:
    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._at = 0
        self._buffer = b""
        self._from = 0
        self._kept = 0

    def header(self) -> Header:
        if self._bytes(len(MAGIC), "it is no GGUF file") != MAGIC:
            self._refuse("it does not begin as a GGUF file does")
        version = int.from_bytes(self._bytes(4), "little")
        if version not in VERSIONS:
            if version & 0xFFFF == 0 or version == 1:
                self._refuse(f"its version is {'big-endian' if version != 1 else 1}, which llama.cpp does not read")
            self._refuse(f"its version is {version}; known are {' and '.join(map(str, VERSIONS))}")
        tensors, keys = self._number("Q"), self._number("Q")
        if keys > _MOST_KEYS or tensors > _MOST_TENSORS:
            self._refuse(f"it says that it has {tensors} tensors and {keys} keys, more than any model has")
        metadata: dict[str, Metadata] = {}
        for _ in range(keys):
            key = self._text(_LONGEST_NAME)
            if not key or key in metadata:
                self._refuse(f"key {key[:64]!r} is {'there twice' if key else 'empty'}")
            metadata[key] = self._value(key)
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            self._refuse("general.alignment is no power of two")
        described = tuple(self._tensor() for _ in range(tensors))
        self._check_layout(described, alignment)
        return Header(
            version=version,
            metadata=metadata,
            tensors=described,
            data=self._at + -self._at % alignment if tensors else self._at,
        )

    def _check_layout(self, tensors: tuple[Tensor, ...], alignment: int) -> None:
        """As llama.cpp does: each tensor's data follow those of the one before, and no name is there twice."""
        if len({tensor.name for tensor in tensors}) < len(tensors):
            self._refuse("two of its tensors have one name")
        if tensors and tensors[0].offset:
            self._refuse(f"tensor {tensors[0].name!r} does not lie at the beginning of the data")
        for before, tensor in pairwise(tensors):
            end = before.offset + before.bytes
            if tensor.offset != end + -end % alignment:
                self._refuse(f"tensor {tensor.name!r} does not lie where the one before it ends")

    def _tensor(self) -> Tensor:
        name = self._text(_LONGEST_NAME)
        dimensions = self._number("I")
        if dimensions > _MOST_DIMENSIONS:
            self._refuse(f"tensor {name[:64]!r} has {dimensions} dimensions; {_MOST_DIMENSIONS} is the most")
        shape = tuple(self._number("Q") for _ in range(dimensions))
        kind, offset = self._number("I"), self._number("Q")
        tensor = Tensor(name, shape or (1,), kind, offset)
        known = GGML_TYPES.get(kind)
        if known is None:
            self._refuse(
                f"tensor {name[:64]!r} is of type {kind}, which llama.cpp b11434 does not know",
                "convert the model again",
            )
        if tensor.shape[0] % known.elements:
            self._refuse(
                f"tensor {name[:64]!r} has rows of {tensor.shape[0]}, and {known.name} stores blocks of {known.elements}"
            )
        if tensor.elements > _MOST or tensor.bytes > _MOST or offset > _MOST:
            self._refuse(f"tensor {name[:64]!r} is larger than any file")
        return tensor

    def _value(self, key: str) -> Metadata:
        kind = self._kind(key)
        if kind is not Value.ARRAY:
            return self._text(_LONGEST_TEXT) if kind is Value.STRING else self._one(kind)
        kind, length = self._kind(key), self._number("Q")
        if kind is Value.ARRAY:
            self._refuse(f"{key[:64]!r} is a list of lists, which llama.cpp does not read")
        if kind is Value.STRING:
            self._skip_texts(length)
            return Skipped(length)
        size = struct.calcsize(STRUCTS[kind])
        if length > _LONGEST_LIST:
            self._skip(length * size)
            return Skipped(length)
        return tuple(struct.unpack(f"<{length}{STRUCTS[kind]}", self._bytes(length * size)))

    def _kind(self, key: str) -> Value:
        number = self._number("I")
        try:
            return Value(number)
        except ValueError:
            self._refuse(f"{key[:64]!r} is of kind {number}, which GGUF does not have")

    def _one(self, kind: Value) -> int | float | bool:
        letter = STRUCTS[kind]
        value: int | float | bool = struct.unpack(f"<{letter}", self._bytes(struct.calcsize(letter)))[0]
        return value

    def _number(self, letter: str) -> int:
        return int.from_bytes(self._bytes(struct.calcsize(letter)), "little")

    def _text(self, longest: int) -> str:
        length = self._number("Q")
        self._kept += min(length, longest + 1)
        if length > longest or self._kept > _MOST_TEXT_BYTES:
            self._refuse(f"a text in it has {length} bytes, more than any key or template has")
        return self._bytes(length).decode("utf-8", errors="replace")

    def _skip_texts(self, count: int) -> None:
        """Pass over `count` texts: a vocabulary has hundreds of thousands, so this is a tight loop over the buffer."""
        unpack = struct.Struct("<Q").unpack_from
        while count:
            buffer, at = self._buffer, self._from
            last = len(buffer) - 8
            while count and at <= last:
                at += 8 + unpack(buffer, at)[0]
                count -= 1
            passed = at - self._from
            self._skip(passed)
            if count and len(self._buffer) - self._from < 8:
                self._fill(8)

    def _skip(self, count: int) -> None:
        if self._at + count > _MOST_HEADER:
            self._refuse("its header would be larger than any model has")
        there = len(self._buffer) - self._from
        while count > there:
            self._at += there
            count -= there
            self._buffer, self._from = self._stream.read(_CHUNK), 0
            there = len(self._buffer)
            if not there:
                self._cut()
        self._from += count
        self._at += count

    def _bytes(self, count: int, otherwise: str = "") -> bytes:
        if len(self._buffer) - self._from < count:
            self._fill(count, otherwise)
        content = self._buffer[self._from : self._from + count]
        self._from += count
        self._at += count
        return content

    def _fill(self, count: int, otherwise: str = "") -> None:
        """At least `count` bytes into the buffer; `count` is bounded by whoever asks."""
        parts = [self._buffer[self._from :]]
        have = len(parts[0])
        while have < count:
            part = self._stream.read(max(_CHUNK, min(count - have, 1 << 20)))
            if not part:
                if otherwise:
                    self._refuse(otherwise)
                self._cut()
            parts.append(part)
            have += len(part)
        self._buffer, self._from = b"".join(parts), 0

    def _cut(self) -> NoReturn:
        self._refuse("its header is cut short")

    def _refuse(self, what: str, mend: str = _MEND) -> NoReturn:
        raise SizingError(f"{self._name}: {what}; no engine would load it: {mend}")
