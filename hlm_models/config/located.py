"""YAML as plain data, with the line that each key stands on."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from hlm_models.errors import InputErrors, Problem

if TYPE_CHECKING:
    from yaml import SafeLoader as _SafeLoader
else:
    _SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

__all__ = ["KeyPath", "Located", "Place", "dotted", "parse_value", "parse_yaml", "read_yaml"]

KeyPath = tuple[str | int, ...]

_MAX_DEPTH = 50  # libyaml's composer is recursive C: it crashes the process on deep nesting
_MAX_NODES = 20_000  # aliases of aliases grow exponentially


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key stands with its value: lines from 1, columns from 0, `end` behind the last one.

    `end` is that of the value where it ends on the key's line, else that of the key.
    """

    line: int
    start: int
    end: int
    last_line: int


@dataclass(frozen=True, slots=True)
class Located:
    """The plain data of one file: mappings with text keys, lists, text, numbers, booleans, None.

    `places` has every key and list element; `problems` are duplicate keys.
    """

    data: dict[str, object]
    places: Mapping[KeyPath, Place]
    problems: tuple[Problem, ...] = ()
    file: str = ""

    @property
    def lines(self) -> Mapping[KeyPath, int]:
        """The line of every key and list element, from 1."""
        return {path: place.line for path, place in self.places.items()}

    def line(self, path: KeyPath) -> int | None:
        """Line of `path`, or of the nearest key above it that the file has."""
        place = self.place(path)
        return None if place is None else place.line

    def place(self, path: KeyPath) -> Place | None:
        """Place of `path`, or of the nearest key above it that the file has."""
        above = (self.places.get(path[:end]) for end in range(len(path), 0, -1))
        return next((place for place in above if place is not None), None)

    def placed(self, problem: Problem) -> Problem:
        """The same problem with the file, and the line of its key or of the nearest above it."""
        lines = {dotted(path): line for path, line in self.lines.items()}
        key = problem.key
        while key and key not in lines:
            key = key.rpartition(".")[0]
        return replace(problem, file=self.file, line=lines.get(key))


def read_yaml(path: Path) -> Located:
    """Read the mapping in a YAML file.

    Raises
    ------
    InputErrors
        The file cannot be read, is empty, is not UTF-8 or not YAML, or holds no mapping.
    """
    file = str(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise InputErrors.one("there is no such file", file=file) from None
    except IsADirectoryError:
        raise InputErrors.one("this is a folder, not a file", file=file) from None
    except OSError as error:
        raise InputErrors.one(f"cannot be read: {error.strerror}", file=file) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8"
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputErrors([Problem(message, file=file, line=line)]) from None
    return parse_yaml(text, file)


def parse_yaml(text: str, file: str = "") -> Located:
    """Read the mapping in a YAML text; `file` is for the messages. Raises as `read_yaml` does."""
    node = _compose(text, file)
    if node is None:
        raise InputErrors.one("the file is empty", file=file)
    reader = _Reader(file)
    data = reader.value(node, ())
    if not isinstance(data, dict):
        line = _line(node.start_mark)
        message = "expected keys with values (`key: value`) at the top of the file"
        raise InputErrors([Problem(message, file=file, line=line)])
    return Located(data, reader.places, tuple(reader.problems), file)


def parse_value(text: str) -> object:
    """One value written as YAML, as it would stand behind a key; raises InputErrors."""
    node = _compose(text, "")
    reader = _Reader("")
    value = None if node is None else reader.value(node, ())
    if reader.problems:
        raise InputErrors(reader.problems)
    return value


def dotted(path: KeyPath) -> str:
    """Write the path as messages do: `fit.chains`."""
    return ".".join(map(str, path))


def _number(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_TAG = "tag:yaml.org,2002:"
_SCALARS: dict[str, Callable[[str], object]] = {
    f"{_TAG}null": lambda _: None,
    f"{_TAG}bool": lambda text: text.lower() == "true",
    f"{_TAG}int": int,
    f"{_TAG}float": _number,
    f"{_TAG}str": str,
}
_TAGS = {f"{_TAG}map", f"{_TAG}seq", *_SCALARS}
_FLOAT = (
    r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_RESOLVERS = {
    None: [
        (f"{_TAG}null", re.compile(r"(?:~|null|Null|NULL|)$")),
        (f"{_TAG}bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$")),
        (f"{_TAG}int", re.compile(r"[-+]?[0-9]+$")),
        (f"{_TAG}float", re.compile(_FLOAT)),
    ]
}


class _Loader(_SafeLoader):
    """Reads plain words as YAML 1.2 does: 1e-3 is a number; `no`, `on` and dates are text."""

    yaml_implicit_resolvers = _RESOLVERS


def _compose(text: str, file: str) -> yaml.Node | None:
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise _too_deep(file, _line(event.start_mark))
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        # libyaml marks the end of an unfinished text on a line after its last one.
        line = min(_line(error.problem_mark or error.context_mark), text.rstrip().count("\n") + 1)
        told = ", ".join(piece for piece in (error.context, error.problem) if piece)
        message = f"not valid YAML: {told}{_repair(error, text)}"
        problem = Problem(message, file=file, line=line)
    except yaml.reader.ReaderError as error:
        message = f"not valid YAML: character #x{error.character:04x} is not allowed"
        before = text.encode()[: error.position].count(b"\n")
        problem = Problem(message, file=file, line=before + 1)
    except UnicodeEncodeError:
        problem = Problem("not valid YAML: a character is not Unicode", file=file)
    raise InputErrors([problem])


def _repair(error: yaml.MarkedYAMLError, text: str) -> str:
    """What most often makes such a fault good; the parser's words say it to its makers only."""
    column, lines = getattr(error.problem_mark, "column", 0), text.split("\n")
    line = lines[_line(error.problem_mark) - 1] if _line(error.problem_mark) <= len(lines) else ""
    if line[column : column + 1] == "\t":
        return "; this is a tab: indent with blanks"
    told = error.problem or ""
    if "mapping values are not allowed" in told:
        return "; put a text that holds ': ' in quotes, and give keys of one level one indentation"
    if "cannot start any token" in told:
        return "; put a text that begins so in quotes"
    if "did not find expected key" in told or "expected <block end>" in told:
        return "; give keys of one level one indentation"
    return ""


def _line(mark: object) -> int:
    """Count from 1; libyaml and PyYAML have a class of marks each, and some errors have none."""
    return int(getattr(mark, "line", 0)) + 1


def _too_deep(file: str, line: int) -> InputErrors:
    message = f"nested more than {_MAX_DEPTH} deep, or an anchor that contains itself"
    return InputErrors([Problem(message, file=file, line=line)])


class _Reader:
    """Turns nodes into plain data and notes the places on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[KeyPath, Place] = {}
        self.problems: list[Problem] = []
        self._nodes = 0

    def value(self, node: yaml.Node, path: KeyPath) -> object:
        line = _line(node.start_mark)
        self._nodes += 1
        if len(path) > _MAX_DEPTH:
            raise _too_deep(self.file, line)
        if self._nodes > _MAX_NODES:
            message = f"more than {_MAX_NODES} values, anchors written out"
            raise InputErrors([Problem(message, file=self.file, line=line)])
        if node.tag not in _TAGS:
            self._problem(f"the tag {node.tag} is not allowed here", path, node)
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [
                self._child(element, element, (*path, i)) for i, element in enumerate(node.value)
            ]
        try:
            return _SCALARS[node.tag](node.value)
        except ValueError:
            self._problem(f"cannot read '{node.value[:40]}' as {node.tag}", path, node)
            return None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in node.value:
            child = (*path, key.value)
            if not isinstance(key, yaml.ScalarNode):
                self._problem("a key must be a word or a text", path, key)
            elif key.value in found:
                self._problem(
                    f"given twice; the first is on line {self.places[child].line}", child, key
                )
            else:
                found[key.value] = self._child(key, value, child)
        return found

    def _child(self, place: yaml.Node, value: yaml.Node, path: KeyPath) -> object:
        begin = place.start_mark
        scalar = isinstance(value, yaml.ScalarNode) and value.end_mark.line == begin.line
        end = (value if scalar else place).end_mark
        last = max(_line(begin), _line(value.end_mark) - (value.end_mark.column == 0))
        self.places[path] = Place(_line(begin), begin.column, end.column, last)
        return self.value(value, path)

    def _problem(self, message: str, path: KeyPath, node: yaml.Node) -> None:
        line = _line(node.start_mark)
        self.problems.append(Problem(message, key=dotted(path), file=self.file, line=line))
