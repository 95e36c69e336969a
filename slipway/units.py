"""Amounts of memory as types: a GiB is no GB, and adding the one to the other is an error, not a rounding.

GPUs are sold in GB and report GiB; mixing them is 7.4 %, more than the error that sizing may have.
"""

from __future__ import annotations

from typing import Self

BYTES_PER_GIB = 1 << 30
BYTES_PER_GB = 10**9
BYTES_PER_MIB = 1 << 20


class _Amount:
    """A number of one unit. Amounts of the same unit add, subtract, compare, and divide to a plain number."""

    __slots__ = ("value",)
    symbol = ""
    bytes_each = 1

    def __init__(self, value: float) -> None:
        if isinstance(value, _Amount):
            raise TypeError(f"{value!r} has a unit already; convert it with {type(self).__name__}.of_bytes(x.bytes)")
        self.value = float(value)

    @classmethod
    def of_bytes(cls, count: float) -> Self:
        """As many bytes in this unit."""
        return cls(count / cls.bytes_each)

    @property
    def bytes(self) -> float:
        """The same amount in bytes."""
        return self.value * self.bytes_each

    def _same(self, other: object) -> float:
        if type(other) is not type(self):
            raise TypeError(f"{self!r} and {other!r} are of different units")
        return other.value

    def __add__(self, other: Self) -> Self:
        return type(self)(self.value + self._same(other))

    def __sub__(self, other: Self) -> Self:
        return type(self)(self.value - self._same(other))

    def __mul__(self, factor: float) -> Self:
        if isinstance(factor, _Amount):
            raise TypeError(f"{self!r} times {factor!r} is no amount of memory")
        return type(self)(self.value * factor)

    __rmul__ = __mul__

    def __truediv__(self, other: Self) -> float:
        return self.value / self._same(other)

    def __lt__(self, other: Self) -> bool:
        return self.value < self._same(other)

    def __le__(self, other: Self) -> bool:
        return self.value <= self._same(other)

    def __gt__(self, other: Self) -> bool:
        return self.value > self._same(other)

    def __ge__(self, other: Self) -> bool:
        return self.value >= self._same(other)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.value == other.value

    def __hash__(self) -> int:
        return hash((type(self), self.value))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value:g})"

    def __format__(self, spec: str) -> str:
        return f"{self.value:{spec or '.2f'}} {self.symbol}"

    __str__ = __repr__


class GiB(_Amount):
    """2^30 bytes: what CUDA, vLLM's log and the operating system count in."""

    __slots__ = ()
    symbol = "GiB"
    bytes_each = BYTES_PER_GIB

    @classmethod
    def of_mib(cls, count: float) -> Self:
        """As many MiB, the unit of nvidia-smi."""
        return cls.of_bytes(count * BYTES_PER_MIB)


class GB(_Amount):
    """10^9 bytes: what vendors print, and what bandwidths are given in."""

    __slots__ = ()
    symbol = "GB"
    bytes_each = BYTES_PER_GB
