"""Mutants of a rule: its source with one condition switched off, or on, or one bound moved by one.

A rule whose cases can't tell a mutant from the rule itself has a condition that nothing tests.
"""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

from policies.rule import Rule

EQUIVALENT = "# the same either way"
"""At the end of a line: whichever way its conditions are switched, the rule answers the same (say why above it)."""

NEVER_EQUAL = "# never equal"
"""At the end of a line: nothing stands exactly at the bound (say why above it)."""


class _Conditions(ast.NodeVisitor):
    """Every place where a condition stands, as (holder, field, index)."""

    def __init__(self) -> None:
        self.found: list[tuple[ast.AST, str, int | None]] = []

    def visit_If(self, node: ast.If) -> None:
        self.found.append((node, "test", None))
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.found.append((node, "test", None))
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.found += [(node, "ifs", index) for index in range(len(node.ifs))]
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.found += [(node, "values", index) for index in range(len(node.values))]
        self.generic_visit(node)


def mutants(rule: str) -> Iterator[tuple[str, Rule]]:
    """Each mutant of the rule, with what was done to it."""
    module = import_module(f"policies.rules.{rule.replace('-', '_')}")
    source = inspect.getsource(module)
    lines = source.splitlines()
    tree = ast.parse(source)
    count = len(_conditions(tree))
    for number in range(count):
        for value in (False, True):
            changed = copy.deepcopy(tree)
            holder, field, index = _conditions(changed)[number]
            old = getattr(holder, field) if index is None else getattr(holder, field)[index]
            # A formatter may break a condition over lines; its last line is where a remark can stand.
            if any(lines[line - 1].rstrip().endswith(EQUIVALENT) for line in range(old.lineno, old.end_lineno + 1)):
                continue
            new = ast.copy_location(ast.Constant(value), old)
            if index is None:
                setattr(holder, field, new)
            else:
                getattr(holder, field)[index] = new
            yield f"line {old.lineno}: {ast.unparse(old)} is {value}", _loaded(module, changed)
    yield from _moved(module, tree, lines)


_NEIGHBOURS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}


def _moved(module: ModuleType, tree: ast.Module, lines: list[str]) -> Iterator[tuple[str, Rule]]:
    """With `<` for `<=` and so on: a bound that no case stands exactly at could be off by one."""
    bounds = [
        (number, place)
        for number, node in enumerate(ast.walk(tree))
        if isinstance(node, ast.Compare)
        for place, operator in enumerate(node.ops)
        if type(operator) in _NEIGHBOURS and not lines[node.lineno - 1].rstrip().endswith(NEVER_EQUAL)
    ]
    for number, place in bounds:
        changed = copy.deepcopy(tree)
        node = next(node for index, node in enumerate(ast.walk(changed)) if index == number)
        assert isinstance(node, ast.Compare)
        old = ast.unparse(node)
        node.ops[place] = _NEIGHBOURS[type(node.ops[place])]()
        yield f"line {node.lineno}: {old} is {ast.unparse(node)}", _loaded(module, changed)


def _conditions(tree: ast.Module) -> list[tuple[ast.AST, str, int | None]]:
    visitor = _Conditions()
    visitor.visit(tree)
    return visitor.found


def _loaded(module: ModuleType, tree: ast.Module) -> Rule:
    made = ModuleType(module.__name__)
    made.__dict__["__file__"] = module.__file__
    exec(compile(ast.fix_missing_locations(tree), str(module.__file__), "exec"), made.__dict__)  # noqa: S102
    rule: Rule = made.__dict__["RULE"]
    return rule
