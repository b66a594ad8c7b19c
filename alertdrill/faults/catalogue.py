"""The catalogue: every fault there is, what it breaks and how that is proven, in its own words."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from alertdrill import faults
from alertdrill.errors import UsageError
from alertdrill.faults.contract import Fault

# From the outside to the inside; one that isn't here comes last.
LAYERS = (
    *("TCP", "HTTP", "network", "container", "resource", "data"),
    *("time", "deploy", "combination"),
)
_PROVEN = re.compile(r"Proven by: (.+?\.)(?:\s|$)")


@dataclass(frozen=True)
class Parameter:
    """One argument of a fault. ``default`` is Python's notation; None: it must be given."""

    name: str
    default: str | None
    keyword_only: bool

    def __str__(self) -> str:
        return self.name if self.default is None else f"{self.name}={self.default}"


@dataclass(frozen=True)
class Entry:
    """One class of faults, as its docstring and its fields say."""

    name: str
    layer: str
    breaks: str
    proven_by: str
    parameters: tuple[Parameter, ...]

    @property
    def call(self) -> str:
        """How it is written, without the keywords that may be left out."""
        told = [p for p in self.parameters if not (p.keyword_only and p.default is not None)]
        positional = ", ".join(str(p) for p in told if not p.keyword_only)
        keywords = ", ".join(f"{p.name}=…" for p in told if p.keyword_only)
        return f"{self.name}({', '.join(filter(None, (positional, keywords)))})"

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "layer": self.layer,
            "breaks": self.breaks,
            "proven_by": self.proven_by,
            "parameters": [
                {"name": p.name, "default": p.default, "keyword_only": p.keyword_only}
                for p in self.parameters
            ],
        }


def catalogue() -> list[Entry]:
    """Every fault that the engine has, by layer and in declared order."""
    entries = [_entry(cls) for cls in fault_classes().values()]
    places = {layer: place for place, layer in enumerate(LAYERS)}
    return sorted(entries, key=lambda entry: places.get(entry.layer, len(places)))


def fault_classes() -> Mapping[str, type[Fault]]:
    """The classes that can be made, by name."""
    for module in pkgutil.iter_modules(faults.__path__, f"{faults.__name__}."):
        importlib.import_module(module.name)
    return {
        cls.__name__: cls
        for cls in _below(Fault)  # type: ignore[type-abstract]
        if not inspect.isabstract(cls) and cls.__module__.startswith(f"{faults.__name__}.")
    }


def _below(cls: type[Fault]) -> Iterator[type[Fault]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _below(sub)


def _entry(cls: type[Fault]) -> Entry:
    words = inspect.getdoc(cls) or ""
    first = " ".join(words.split("\n\n")[0].split())
    return Entry(
        name=cls.__name__,
        layer=cls.layer,
        breaks=first.partition("Proven by:")[0].strip(),
        proven_by=next(_proofs(cls), ""),
        parameters=tuple(_parameters(cls)),
    )


def _proofs(cls: type[Fault]) -> Iterator[str]:
    """What the class says, else what those say that it is made of."""
    for base in cls.__mro__:
        found = _PROVEN.search(" ".join((base.__doc__ or "").split()))
        if found:
            yield found[1]


def _parameters(cls: type[Fault]) -> Iterator[Parameter]:
    for parameter in inspect.signature(cls).parameters.values():
        yield Parameter(
            parameter.name if parameter.kind is not parameter.VAR_POSITIONAL else "*parts",
            None if parameter.default is parameter.empty else repr(parameter.default),
            parameter.kind is parameter.KEYWORD_ONLY,
        )


# --- a fault that somebody asks for --------------------------------------------------------


def asked_for(text: str, known: Iterable[tuple[str, Fault]]) -> Fault:
    """The fault that ``text`` names or writes down, as ``Latency("redis", 200, client="hub")``.

    ``known``: faults by names that a person may use. Raises UsageError.
    """
    for name, fault in known:
        if text in (name, fault.name):
            return fault
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        tree = None
    if not isinstance(tree, ast.Call):
        raise UsageError(
            f"no drill and no fault is called {text!r}; `alertdrill faults` lists them, and "
            'Refuse("postgres", client="hub") writes one down'
        )
    made = _made(tree)
    assert isinstance(made, Fault)
    return made


def _made(node: ast.expr) -> Any:
    """A literal, or a fault of the catalogue made of such: nothing else is evaluated."""
    match node:
        case ast.Call(func=ast.Name(id=name)):
            classes = fault_classes()
            if name not in classes:
                raise UsageError(f"there is no fault {name}; there are {', '.join(classes)}")
            arguments = [_made(argument) for argument in node.args]
            named = {k.arg: _made(k.value) for k in node.keywords if k.arg is not None}
            try:
                return classes[name](*arguments, **named)
            except TypeError as error:
                raise UsageError(f"{ast.unparse(node)}: {error}") from error
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return tuple(_made(part) for part in parts)
        case _:
            try:
                return ast.literal_eval(node)
            except ValueError as error:
                raise UsageError(f"{ast.unparse(node)!r} is neither a fault nor a value") from error
