"""The sources: which collections hold leads, and how each is read and written.

The file that ENRICHER_CONFIG names has one `[[source]]` block for each collection. Without it there is one source,
which follows from the environment. Every mistake in the file is one line that names block, key and what was
expected, and all are found at once; no line quotes a value.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, TypeAlias, TypeVar

from enricher.answer import Kind
from enricher.fields import NAMES, NEEDED, TYPES, Names, ValueType
from enricher.settings import filters
from enricher.settings.paths import MOST_HOPS, Candidates, Field, candidates, fields_of
from enricher.settings.types import collection_name, either, field_path, first_line

INPUTS = ("email", "name", "company", "company_domain", "website", "job_title")
"""The inputs that a lead has without a mapping, each in the field of that name."""
MAPPED_INPUTS = (*INPUTS, "linkedin", "cnpj")
"""The inputs that a mapping may read."""

_NOT_ASKED_OF = frozenset({"name", "job_title"})
RESULTS = "enricher_results_"
"""Begins the name of a collection of results; what follows is that of their leads."""
_BANNED = filters.BANNED | {"$expr"}
"""An expression may raise an error on one lead, which would stop the others of its batch."""


class Write(StrEnum):
    """Where the results of a source go."""

    LEAD = "lead"
    BESIDE = "beside"
    """Into a collection of ours: the user's documents are only read."""


class Policy(StrEnum):
    """When a found value is copied into a field of the user's."""

    NEVER = "never"
    FILL = "fill"
    TRACKED = "tracked"
    ALWAYS = "always"


class CopyType(StrEnum):
    """What a copied value is stored as."""

    TEXT = "text"
    NUMBER = "number"
    LIST = "list"


Word: TypeAlias = str | int | float | bool
"""What a found value may be called in a field of the user's."""
_MOST_WORDS = 500
"""In one map: it travels with each settle."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One found value that is copied into a field of the user's."""

    value: str
    """Section and field of `enriched_data`: `person_data.job_title`."""
    to: str
    policy: Policy = Policy.TRACKED
    type: CopyType | Mapping[str, Word] | None = None
    """`None` for the type of the found value; a map of found values, in lower case, to the user's own words."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the target, one below another."""
        return tuple(self.to.split("."))


def _contract() -> dict[str, Candidates]:
    return {name: (Field(name),) for name in INPUTS}


@dataclass(frozen=True, slots=True)
class Source:
    """A collection with leads. `Source()` is the collection of the defaults."""

    collection: str = "leads"
    only: Mapping[str, Any] = field(default_factory=dict)
    """The MongoDB filter that a document must match to be a lead at all."""
    kinds: frozenset[Kind] = frozenset(Kind)
    person_only: Mapping[str, Any] = field(default_factory=dict)
    """The filter that a lead must match to be asked about as a person."""
    write: Write = Write.LEAD
    account: Candidates = (Field("account_id"),)
    plan: Candidates = (Field("plan"),)
    priority: Candidates = (Field("temperature"),)
    rerun_on_change: bool = False
    """Mapped inputs that change make the lead work again."""
    read: Mapping[str, Candidates] = field(default_factory=_contract)
    """Input -> where it is read from. What is not named is not read."""
    names: Names = NAMES
    """Our fields on its documents; an empty name is not written."""
    copy: tuple[Copy, ...] = ()
    finds_domain: bool = False
    """Vendors are asked about a lead by its company's name, too. No key of the file: it holds for all sources."""

    @property
    def listened_to(self) -> frozenset[str] | None:
        """The top-level fields whose change may make a lead work; `None` where that may be any field.

        A name or a job title changes nothing: nobody else is asked about because of them.
        """
        condition = filters.fields_of(self.only)
        if condition is None:
            return None
        asked = [paths for name, paths in self.read.items() if name not in _NOT_ASKED_OF]
        return condition | {names[0] for paths in asked for names in fields_of(paths)}

    @property
    def reading(self) -> str:
        """What stands for how leads are read; empty for the fields of the contract."""
        return "" if self.read == _contract() else repr(sorted(self.read.items()))

    @property
    def is_beside(self) -> bool:
        """Results stand beside the leads."""
        return self.write is Write.BESIDE

    @property
    def results(self) -> str:
        """The collection that holds the results, and is the queue."""
        return f"{RESULTS}{self.collection}" if self.is_beside else self.collection


def from_environment(
    collection: str, priority_field: str, account_field: str, plan_field: str
) -> Source:
    """Return the one source that there is without a file."""
    return Source(
        collection,
        account=(Field(account_field),),
        plan=(Field(plan_field),),
        priority=(Field(priority_field),),
    )


def parse(file: str, text: str, problems: list[str]) -> tuple[Source, ...]:
    """Read the sources. Appends one line for each mistake to `problems`, and begins it with `file`."""
    try:
        document = tomllib.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        problems.append(f"{file}: expected TOML ({first_line(error)})")
        return ()
    found = list(_mistakes(document))
    blocks = document.get("source")
    sources = []
    for number, block in enumerate(_tables(blocks), 1):
        reader = _Block(f"source {number}", block)
        sources.append(reader.source())
        found += reader.mistakes
    found += _shared(sources)
    problems += [f"{file}: {line}" for line in found]
    return tuple(sources)


def _mistakes(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the file as a whole: a block that is only spelt wrongly is one mistake."""
    strangers = [name for name in document if name != "source"]
    yield from map(_stranger, strangers)
    is_misspelt = any(name in _KEYS or _closest(name, ("source",)) for name in strangers)
    if not _tables(document.get("source")) and not is_misspelt:
        yield "source: expected at least one block that begins with [[source]]"


def _stranger(name: str) -> str:
    """Complain of a key outside of all blocks."""
    if name in _TABLES:
        return f"{name}: expected within a block, as [source.{name}]"
    if name in _KEYS:
        return f"{name}: expected within a block that begins with [[source]]"
    return _unknown(name, ("source",), "blocks that begin with [[source]]")


def _tables(value: object) -> list[Mapping[str, Any]]:
    is_list = isinstance(value, list) and all(isinstance(each, dict) for each in value)
    return list(value) if is_list and isinstance(value, list) else []


def _shared(sources: list[Source]) -> Iterator[str]:
    """Yield a line for each block whose collection an earlier block has."""
    first: dict[str, int] = {}
    for number, source in enumerate(sources, 1):
        if not source.collection:
            continue
        if source.collection in first:
            yield (
                f"source {number}, collection: expected another one than source "
                f"{first[source.collection]} has"
            )
        first.setdefault(source.collection, number)


def _unknown(name: str, known: tuple[str, ...], expected: str = "") -> str:
    close = _closest(name, known)
    hint = f"did you mean {close}?" if close else f"expected {expected or either(known)}"
    return f"{_shown(name)}: there is no such key; {hint}"


def _closest(name: str, known: tuple[str, ...]) -> str | None:
    """Return the key that was meant, or of which only a part was written."""
    word = name.lower()
    close = difflib.get_close_matches(word, known, 1)
    parts = [each for each in known if len(word) >= _SHORTEST_PART and word in each]
    return next(iter([*close, *parts]), None)


_SHORTEST_PART = 4
_LONGEST_KEY = 60


def _shown(key: str) -> str:
    """Return a key of the file as a line can hold it."""
    text = key if key.isprintable() else json.dumps(key)
    return text if len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]}..."


T = TypeVar("T")


class _Block:
    """Reads one `[[source]]` block and notes its mistakes."""

    def __init__(self, name: str, block: Mapping[str, Any]) -> None:
        self.mistakes: list[str] = []
        self._name = name
        self._block = block

    def source(self) -> Source:
        """Return the source; a key with a mistake has its default, and a collection is then empty."""
        strangers = [key for key in self._block if key not in _KEYS]
        for key in strangers:
            self._note(_unknown(key, tuple(_KEYS)))
        values = {key: self._read(key) for key in _KEYS if key in self._block}
        is_misspelt = any(_closest(key, tuple(_KEYS)) == "collection" for key in strangers)
        if "collection" not in self._block and not is_misspelt:
            self._note("collection: expected the name of the collection that holds the leads")
        given = {key: value for key, value in values.items() if value is not None}
        source = Source(**{"collection": "", **given})
        for mistake in _clashes(source):
            self._note(mistake)
        return source

    def _read(self, key: str) -> Any:
        """Return the value of a key, or `None` when it has a mistake."""
        value = self._block[key]
        if key in _TABLES:
            return self._table(key, value)
        return self._tried(key, _KEYS[key], value)

    def _table(self, key: str, value: object) -> Any:
        if not isinstance(value, dict):
            self._note(f"{key}: expected a table, [source.{key}]")
            return None
        known, read, build = _TABLES[key]
        if key == "read" and not value:
            self._note(f"read: expected at least one of {either(known)}")
        for name in value:
            if name not in known:
                self._note(f"{key}.{_stranger_in(key, name, known)}")
        listed = [name for name in value if name in known]
        made = {name: self._tried(f"{key}.{name}", read, value[name]) for name in listed}
        return build({name: each for name, each in made.items() if each is not None})

    def _tried(self, key: str, read: Callable[[Any], T], value: object) -> T | None:
        try:
            return read(value)
        except ValueError as error:
            self._note(f"{key}: {error}")
            return None

    def _note(self, mistake: str) -> None:
        self.mistakes.append(f"{self._name}, {mistake}")


def _stranger_in(table: str, name: str, known: tuple[str, ...]) -> str:
    """Complain of a key that a table does not have."""
    if table != "copy":
        return _unknown(name, known)
    if any(each.startswith(f"{name}.") for each in known):
        return f"{_shown(name)}: expected section and field in quotes, as {_A_COPY}"
    return _unknown(name, known, f"section and field of what was found, as {_A_COPY}")


_A_COPY = '"person_data.job_title" = { to = "position" }'


# What a value of the file means. Each raises ValueError, whose text says what was expected: also for a type, since
# it is the file that is wrong, and not the call.


def _collection(value: object) -> str:
    name = collection_name(value) if isinstance(value, str) else ""
    if not name:
        raise ValueError("expected the name of a collection")
    return name


def _filter(value: object) -> dict[str, Any]:
    if not isinstance(value, str):
        raise ValueError(  # noqa: TRY004 - of the file
            """expected a MongoDB filter as text, like '{"deleted": false}'"""
        )
    found = filters.parse(value, _BANNED)
    if twice := _named_twice(value):
        raise ValueError(f"expected each name once in an object: {twice} stands there twice")
    return found


def _named_twice(text: str) -> str | None:
    """Return a name that stands twice in one object: the first of the two would not count."""
    twice: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        twice.extend(name for name in names if names.count(name) > 1)

    json.loads(text, object_pairs_hook=look)
    return twice[0] if twice else None


def _kinds(value: object) -> frozenset[Kind]:
    known = [kind.value for kind in Kind]
    is_list = isinstance(value, list) and value and all(each in known for each in value)
    if not is_list or not isinstance(value, list) or len(set(value)) < len(value):
        raise ValueError(f"expected a list of {either(known)}, each once")
    return frozenset(Kind(each) for each in value)


def _write(value: object) -> Write:
    return _one_of(Write, value)


Choice = TypeVar("Choice", bound=StrEnum)


def _one_of(words: type[Choice], value: object) -> Choice:
    known = [word.value for word in words]
    if value not in known:
        raise ValueError(f"expected {either(known)}")
    return words(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")  # noqa: TRY004 - of the file
    return value


def _name(value: object) -> str:
    """Read where a field of ours stands; an empty text means nowhere."""
    if not isinstance(value, str) or (value and not _is_plain_target(value)):
        raise ValueError('expected the name of a field, a path like crm.status, or ""')
    return value


_SIGNS_OF_READING = frozenset("[]{}`")


def _is_plain_target(path: str) -> bool:
    """Return whether it names a field to write, and is not written like what is read: `emails[0]` would be its name."""
    return is_target(path) and _SIGNS_OF_READING.isdisjoint(path)


def is_target(path: str) -> bool:
    """Return whether a field of that path can be written."""
    try:
        field_path(path)
    except ValueError:
        return False
    names = path.split(".")
    return names[0] != "_id" and len(names) <= MOST_HOPS and not any(map(str.isdigit, names))


def _copy(value: object) -> Copy:
    """Read all of a copy but which value it is, which the table adds."""
    if not isinstance(value, dict):
        raise ValueError('expected a table like { to = "position", policy = "tracked" }')  # noqa: TRY004 - of the file
    for key in value:
        if key not in _KEYS_OF_COPY:
            raise ValueError(_unknown(key, _KEYS_OF_COPY))
    to = value.get("to")
    if not isinstance(to, str) or not _is_plain_target(to):
        raise ValueError(
            "expected to = a field of yours or a path of names to it, "
            "without _id, numbers, brackets, backticks and $"
        )
    try:
        policy = _one_of(Policy, value.get("policy", Policy.TRACKED.value))
    except ValueError as error:
        raise ValueError(f"policy: {error}") from error
    try:
        type_ = _copy_type(value["type"]) if "type" in value else None
    except ValueError as error:
        raise ValueError(f"type: {error}") from error
    return Copy("", to, policy, type_)


_KEYS_OF_COPY = ("to", "policy", "type")


def _copy_type(value: object) -> CopyType | Mapping[str, Word]:
    if isinstance(value, dict):
        return _words(value)
    if not isinstance(value, str) or value not in list(CopyType):
        raise ValueError(
            'expected text, number, list, or a table of values like { "software" = "IT" }'
        )
    return CopyType(value)


def _words(table: Mapping[str, Any]) -> Mapping[str, Word]:
    words = {found.strip().lower(): word for found, word in table.items()}
    if not 0 < len(words) == len(table) <= _MOST_WORDS or "" in words:
        raise ValueError(
            f"expected a table of 1 to {_MOST_WORDS} values, each once in whatever case"
        )
    if not all(isinstance(word, Word) and _is_storable(word) for word in words.values()):
        raise ValueError("expected a table of values that are texts, numbers, true or false")
    return words


def _is_storable(word: Word) -> bool:
    """Return whether the word says something, and MongoDB can hold it."""
    if isinstance(word, str):
        return bool(word.strip())
    return -(2**63) <= word < 2**63


def _copies(made: Mapping[str, Copy]) -> tuple[Copy, ...]:
    return tuple(replace(each, value=name) for name, each in made.items())


COPIED = (
    *(f"{kind.section}.{name}" for kind in Kind for name in TYPES[kind]),
    *(
        f"social_profiles.{kind}.{name.removesuffix('_handle')}"
        for kind in (Kind.COMPANY, Kind.PERSON)
        for name, type_ in TYPES[kind].items()
        if type_ is ValueType.HANDLE
    ),
)
"""What may be found: the fields of the sections, and the addresses of profiles."""
_NAMED = tuple(each.name for each in fields(Names))
_TABLES: Mapping[str, tuple[tuple[str, ...], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "read": (MAPPED_INPUTS, candidates, dict),
    "names": (_NAMED, _name, lambda made: Names(**made)),
    "copy": (COPIED, _copy, _copies),
}
"""Key -> the keys of its table, what reads one of them, and what is made of all."""
_KEYS: Mapping[str, Callable[[Any], Any]] = {
    "collection": _collection,
    "only": _filter,
    "kinds": _kinds,
    "person_only": _filter,
    "write": _write,
    "account": candidates,
    "plan": candidates,
    "priority": candidates,
    "rerun_on_change": _flag,
    **{key: lambda value: value for key in _TABLES},
}


# Clashes between what the keys of one block say


def _clashes(source: Source) -> Iterator[str]:
    for name in NEEDED:
        if not getattr(source.names, name):
            yield f"names.{name}: expected the name of a field: nothing works without it"
    yield from _written_twice(source)
    if source.write is Write.LEAD:
        yield from _read_from_ours(source)
        yield from _depends_on_work(source)
        yield from _copied_onto(source)
    if source.write is Write.BESIDE and source.copy:
        yield f"copy: expected none with write = {Write.BESIDE.value}: nothing is written there"


def _written_twice(source: Source) -> Iterator[str]:
    """Yield a line for each field that is written in the place of another, or below it."""
    written = {f"names.{name}": path for name, path in source.names.written().items()}
    written |= {f"copy.{copy.value}": copy.to for copy in source.copy}
    listed = list(written.items())
    for number, (key, path) in enumerate(listed):
        for other, taken in listed[:number]:
            if is_either_within(path, taken):
                yield f"{key}: expected another field than that of {other}, and none below it"


def _read_from_ours(source: Source) -> Iterator[str]:
    """Yield a line for each key that reads what the daemon itself writes, or something around it."""
    ours = source.names.written().values()
    read = {f"read.{name}": paths for name, paths in source.read.items()}
    read |= {key: getattr(source, key) for key in ("account", "plan", "priority")}
    for key, paths in read.items():
        names = [".".join(each) for each in fields_of(paths)]
        if any(is_either_within(name, path) for name in names for path in ours):
            yield f"{key}: expected a field of your own: the daemon writes that one"
    score = source.names.qualification_score
    if score and any(is_either_within(score, path) for path in ours):
        yield "names.qualification_score: expected a field of your own: the daemon writes that one"


def _depends_on_work(source: Source) -> Iterator[str]:
    """Yield a line for each condition that the work on a lead would change: it would exclude what it lets in."""
    ours = (source.names.enrichment_status, source.names.enrichment)
    for key in ("only", "person_only"):
        read = filters.paths(getattr(source, key)) or frozenset()
        if any(f"{path}.".startswith(f"{each}.") for path in read for each in ours if each):
            yield f"{key}: expected fields of your own: the daemon writes that one"


def _copied_onto(source: Source) -> Iterator[str]:
    """Yield a line for each copy onto what decides about the lead: found values would, instead of its writer."""
    decides = {key: filters.paths(getattr(source, key)) for key in ("only", "person_only")}
    for key in ("account", "plan"):
        decides[key] = frozenset(".".join(each) for each in fields_of(getattr(source, key)))
    score = source.names.qualification_score
    decides["names.qualification_score"] = frozenset({score} if score else ())
    for copy in source.copy:
        for key, paths in decides.items():
            if paths is None or any(is_either_within(copy.to, path) for path in paths):
                yield f"copy.{copy.value}: expected a field that {key} does not read"


def is_either_within(path: str, other: str) -> bool:
    """Return whether one of two dotted paths is the other, or below it."""
    return f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.")
