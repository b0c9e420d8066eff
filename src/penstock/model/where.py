"""Reads a condition from text: the grammar of ``docs/where.md``, by precedence climbing."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from penstock.errors import InvalidFilter
from penstock.model.expression import (
    WORDS,
    Arithmetic,
    Compare,
    Comparison,
    Expression,
    In,
    IsNull,
    Like,
    Literal,
    Name,
    Not,
    Operator,
    join,
)

#: Levels that an expression may be nested, and characters that its text may have.
DEEPEST = 200
LONGEST = 65_536
_LONGEST_NUMBER = 400
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?(?!\w))
    | (?P<word>[^\W\d]\w*)
    | (?P<name>"(?:[^"]|"")*")
    | (?P<text>'(?:[^']|'')*')
    | (?P<mark><=|>=|<>|!=|==|[-+*/%()=<>,.\[\]])""",
    re.VERBOSE,
)
_COMPARISONS: dict[str, Comparison] = {
    "=": "=",
    "==": "=",
    "!=": "!=",
    "<>": "!=",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}
_SUMS: dict[str, Operator] = {"+": "+", "-": "-"}
_PRODUCTS: dict[str, Operator] = {"*": "*", "/": "/", "%": "%"}
#: How tightly what stands behind an operand binds; what binds less is left to whoever asked for the operand.
_OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _UNARY = range(1, 8)
_BINDING: dict[str, int] = {
    "or": _OR,
    "and": _AND,
    **dict.fromkeys((*_COMPARISONS, "in", "like", "is", "between", "not"), _COMPARE),
    **dict.fromkeys(_SUMS, _SUM),
    **dict.fromkeys(_PRODUCTS, _PRODUCT),
}
_INSTEAD = {"&": "write and", "|": "write or", "!": "write not, or !=", ";": "write one condition", "`": 'write "name"'}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text. ``kind`` is number, text, name (also of what stood in quotes), word or mark; the value of a
    word is lower case."""

    kind: str
    value: str
    at: int
    raw: str


def parse(text: str) -> Expression:
    """The tree of a condition. Raises :class:`~penstock.errors.InvalidFilter`, which says at which character."""
    if not isinstance(text, str):
        raise InvalidFilter(f"a condition is a text, not {text!r}")
    if len(text) > LONGEST:
        raise InvalidFilter(f"the condition has {len(text):,} characters, more than {LONGEST:,}", hint="shorten it")
    parser = _Parser(text, _tokens(text))
    found = parser.expression(_OR, 0)
    if parser.next.kind != "end":
        parser.unexpected("and, or, or the end")
    return found


_NAMES = 'docs/where.md has the grammar; a name that is no plain word stands in double quotes, as "unit price"'


def refuse(text: str, at: int, what: str, *, hint: str | None = None) -> NoReturn:
    """Say what is wrong at a character of a condition."""
    near = text[at : at + 20].split("\n", maxsplit=1)[0]
    place = f"at {near!r} (character {at + 1})" if near else "at its end"
    raise InvalidFilter(f"the condition {place}: {what}", hint=hint)


def _tokens(text: str) -> list[Token]:
    tokens, at = [], 0
    for place, character in enumerate(text):
        if "\ud800" <= character <= "\udfff":
            refuse(text, place, "this is not UTF-8")
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            _refuse_character(text, at)
        kind, raw = str(found.lastgroup), found.group()
        if kind == "word":
            reserved = raw.lower() in WORDS
            tokens.append(Token("word", raw.lower(), at, raw) if reserved else Token("name", raw, at, raw))
        elif kind in ("name", "text"):
            tokens.append(Token(kind, raw[1:-1].replace(raw[0] * 2, raw[0]), at, raw))
        elif kind != "space":
            tokens.append(Token(kind, raw, at, raw))
        at = found.end()
    return [*tokens, Token("end", "", len(text), "")]


def _refuse_character(text: str, at: int) -> NoReturn:
    if text[at] in "'\"":
        refuse(text, at, "this quote is not closed", hint=f"a {text[at]} inside of it is written twice")
    if text[at].isdigit() or text[at] == ".":
        refuse(text, at, "this is no number", hint='a name that begins with a digit stands in quotes: "2xx"')
    refuse(text, at, "this character means nothing here", hint=_INSTEAD.get(text[at]))


class _Parser:
    def __init__(self, text: str, tokens: list[Token]) -> None:
        self._text = text
        self._tokens = tokens
        self._place = 0

    @property
    def next(self) -> Token:
        return self._tokens[self._place]

    def unexpected(self, expected: str, *, hint: str | None = None) -> NoReturn:
        refuse(self._text, self.next.at, f"{expected} is expected here", hint=hint or _NAMES)

    def _binding(self) -> int:
        return _BINDING.get(self.next.value, 0) if self.next.kind in ("word", "mark") else 0

    def _take(self) -> Token:
        token = self.next
        self._place += token.kind != "end"
        return token

    def _skip(self, *values: str) -> bool:
        """Take these words or marks, if they are what comes next."""
        coming = self._tokens[self._place : self._place + len(values)]
        met = [token.value for token in coming if token.kind in ("word", "mark")] == list(values)
        self._place += len(values) * met
        return met

    def _need(self, value: str) -> None:
        if not self._skip(value):
            self.unexpected(repr(value))

    def expression(self, least: int, depth: int) -> Expression:
        """The longest expression from here on whose operators bind at least so tightly."""
        if depth > DEEPEST:
            refuse(self._text, self.next.at, f"it is nested deeper than {DEEPEST} levels", hint="simplify it")
        left, levels = self._operand(depth), depth
        while True:
            token, binding = self.next, self._binding()
            if binding < least:
                return left
            if binding >= _SUM:
                self._take()
                levels += 1
                if levels > DEEPEST:
                    refuse(self._text, token.at, f"it is nested deeper than {DEEPEST} levels", hint="simplify it")
                operator = {**_SUMS, **_PRODUCTS}[token.value]
                left = Arithmetic(operator, left, self.expression(binding + 1, levels), token.at)
            elif binding == _COMPARE:
                left = self._compared(left, depth)
                if self._binding() == _COMPARE:
                    self.unexpected("and, or, or the end", hint="put one of the two comparisons into parentheses")
            else:
                left = self._joined(left, token.value, binding, depth)

    def _joined(self, left: Expression, kind: Any, binding: int, depth: int) -> Expression:
        operands = [left]
        while self._skip(kind):
            operands.append(self.expression(binding + 1, depth + 1))
        return join(kind, operands)

    def _operand(self, depth: int) -> Expression:
        token = self._take()
        if token.kind == "name":
            return self._name(token)
        if token.kind in ("number", "text"):
            return self._literal(token)
        if token.value in ("true", "false"):
            return Literal(token.value == "true", token.at)
        if token.value == "not":
            return Not(self.expression(_NOT, depth + 1), token.at)
        if token.value == "-" and token.kind == "mark":
            return self._negative(self.expression(_UNARY, depth + 1), token)
        if token.value == "(":
            inner = self.expression(_OR, depth + 1)
            self._need(")")
            return inner
        self._place -= token.kind != "end"
        if token.value == "null":
            self.unexpected("a column or a value", hint="nothing is equal to null: write 'is null' or 'is not null'")
        return self.unexpected("a column or a value")

    def _negative(self, operand: Expression, sign: Token) -> Expression:
        match operand:
            case Literal(value=value) if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
                return Literal(-value, sign.at)
        return Arithmetic("-", Literal(0, sign.at), operand, sign.at)

    def _name(self, token: Token) -> Name:
        steps: list[str | int] = []
        while True:
            if self._skip("."):
                step = self._take()
                if step.kind not in ("name", "word"):
                    self._place -= step.kind != "end"
                    self.unexpected("the name of a member", hint='write data.status, or data."any name"')
                steps.append(step.value if step.kind == "name" else step.raw)
            elif self._skip("["):
                step = self._take()
                if step.kind != "number" or not step.value.isdecimal() or len(step.value) > 9:
                    self._place -= step.kind != "end"
                    self.unexpected("the number of an element", hint="the first one is [0]")
                steps.append(int(step.value))
                self._need("]")
            else:
                return Name(token.value, tuple(steps), token.at)

    def _literal(self, token: Token) -> Literal:
        if token.kind == "text":
            return Literal(token.value, token.at)
        if len(token.value) > _LONGEST_NUMBER or math.isinf(float(token.value)):
            refuse(self._text, token.at, "this number is beyond all that are known", hint="write one below 1e308")
        return Literal(int(token.value) if token.value.isdecimal() else Decimal(token.value), token.at)

    def _compared(self, left: Expression, depth: int) -> Expression:
        token = self._take()
        at = token.at
        if token.value in _COMPARISONS:
            return Compare(_COMPARISONS[token.value], left, self.expression(_SUM, depth + 1), at)
        if token.value == "is":
            negated = self._skip("not")
            self._need("null")
            found: Expression = IsNull(left, at)
            return Not(found, at) if negated else found
        negated = token.value == "not"
        if negated:
            token = self._take()
        if token.value == "in":
            found = In(left, self._items(), at)
        elif token.value == "like":
            found = self._like(left, at)
        elif token.value == "between":
            low = self.expression(_SUM, depth + 1)
            self._need("and")
            high = self.expression(_SUM, depth + 1)
            found = join("and", [Compare(">=", left, low, at), Compare("<=", left, high, at)])
        else:
            self._place -= token.kind != "end"
            self.unexpected("in, like or between")
        return Not(found, at) if negated else found

    def _items(self) -> tuple[Literal, ...]:
        self._need("(")
        items: list[Literal] = []
        while True:
            item = self._operand(DEEPEST - 2)
            match item:
                case Literal():
                    items.append(item)
                case _:
                    refuse(self._text, item.at, "a list takes numbers and texts only", hint="write in (1, 2, 'text')")
            if self._skip(")"):
                return tuple(items)
            self._need(",")

    def _like(self, left: Expression, at: int) -> Like:
        pattern = self._text_literal("a pattern, as 'GET /%'")
        escape = self._text_literal("one character in single quotes") if self._skip("escape") else None
        if escape is not None and len(escape) != 1:
            refuse(self._text, at, "escape takes one character", hint="write escape '!'")
        return Like(left, pattern, escape, at)

    def _text_literal(self, expected: str) -> str:
        if self.next.kind != "text":
            self.unexpected(expected)
        return self._take().value
