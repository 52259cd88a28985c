"""The reference, made from the code: settings, commands, series, events, the contract; the table of providers.

`make reference` (`python -m tests.reference`) writes it; `test_docs.py` fails when it is no longer true.
What people write stands around the two comments, and what is made from the code between them.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from prometheus_client.metrics import MetricWrapperBase
from pydantic import SecretStr
from typer.main import get_command

from enricher import catalogue
from enricher.answer import Kind
from enricher.catalogue import CNPJ, FINDERS, LOCAL, PROVIDERS, WEBSITE, ProviderListing
from enricher.cli import cli
from enricher.contract.formats import SchemaFormat, contract
from enricher.fields import FIELDS, TYPES, ValueType
from enricher.providers.base import Access
from enricher.providers.http import HttpProvider
from enricher.providers.registry import built_in, finders
from enricher.providers.transport import NOBODY
from enricher.settings.load import SECTIONS, documented
from enricher.settings.vendors import VENDORS
from enricher.telemetry import metrics
from enricher.telemetry.log import EVENTS
from enricher.telemetry.metrics import MEANINGS

ROOT = Path(__file__).parent.parent
CODE = ROOT / "enricher"
REFERENCE = ROOT / "docs" / "reference"
SCHEMA = REFERENCE / "lead.schema.json"
MODELS = CODE / "contract" / "models.py"
BEGIN, END = "<!-- make reference writes from here -->\n", "<!-- to here -->\n"
OPEN_LABELS = {"version", "provider", "le", "vendor", "bucket", "period", "window"}
"""Their values are not ours to list (a version, the table of providers, the bounds of buckets), or
come with the first value."""
LEVELS = {
    **{level: level for level in ("debug", "info", "warning", "error", "critical")},
    "exception": "error",
    "log": "any",
}
"""Method of the logger -> level; `log` passes on what a library chose."""
EVENT = re.compile(r"[a-z]+\.[a-z_]+")


def files() -> dict[Path, Callable[[], str]]:
    """Every generated file, and what makes it as it ought to be."""
    tables = {"settings": settings, "commands": commands, "series": series, "events": events}
    pages = {REFERENCE / f"{name}.md": make for name, make in tables.items()}
    pages[ROOT / "docs" / "providers.md"] = providers
    pages[ROOT / "docs" / "contract.md"] = fields
    whole = {SCHEMA: SchemaFormat.JSON, MODELS: SchemaFormat.PYDANTIC}
    return {
        **{path: partial(_put, path, make) for path, make in pages.items()},
        **{path: partial(contract, format_) for path, format_ in whole.items()},
    }


def _put(path: Path, make: Callable[[], str]) -> str:
    before, _, rest = path.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, f"{path} has no {BEGIN} ... {END}"
    return f"{before}{BEGIN}\n{make()}\n{END}{after}"


def _table(*rows: Sequence[str]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


# Settings

SUBJECTS = {
    "mongo": "MongoDB",
    "work": "Work",
    "priority": "Urgency",
    "identity": "Who is asked about",
    "privacy": "Privacy",
    "cache": "Kept answers",
    "quota": "Quotas of plans",
    "website": "Companies' own web sites",
    "cnpj": "The Brazilian register",
    "providers": "Which providers, and for what",
    "http": "Status page, metrics and probes",
    "log": "Log",
}


def settings() -> str:
    sentences = {name: (default, sentence) for name, default, sentence in documented()}
    sections = [(SUBJECTS.get(name, name.title()), kind) for name, kind in SECTIONS.items()]
    vendors = [(f"Vendor: {name}", kind) for name, kind in VENDORS.items()]
    return "\n".join(
        f"## {title}\n\n" + _settings(_aliases(kind.model_fields), sentences)
        for title, kind in (*sections, *vendors)
    )


def _aliases(fields: Mapping[str, Any]) -> list[str]:
    return [str(field.validation_alias) for field in fields.values()]


def _settings(names: Iterable[str], sentences: Mapping[str, tuple[str, str]]) -> str:
    rows = ((name, *sentences[name]) for name in names)
    return _table(
        ("setting", "default", "what it does"),
        *(
            (f"`{name}`", default if default == "none" else f"`{default}`", sentence)
            for name, default, sentence in rows
        ),
    )


# Providers

_UNITS = {1: "s", 10: "10 s", 60: "min", 3600: "h", 86_400: "day"}


def providers() -> str:
    """The catalogue, as the daemon asks when nothing is set."""
    limits = {each.name: _limit(each) for each in (*built_in(), *finders())}
    limits[CNPJ.name] = f"{CNPJ.windows[0].calls}/min"
    limits[WEBSITE.name] = "3 requests a site, a second apart"
    return _table(
        (
            "provider",
            "kind",
            "what it asks",
            "a call costs",
            "default limit",
            "asked while missing",
        ),
        *(
            (
                f"`{each.name}`",
                each.kind.value,
                _asks(each),
                each.costs,
                limits.get(each.name, "none"),
                _code(sorted(each.required)),
            )
            for each in (*FINDERS.values(), WEBSITE, *PROVIDERS.values(), CNPJ, LOCAL)
        ),
    )


def _asks(listing: ProviderListing) -> str:
    if not listing.path:
        return listing.remark
    return f"{catalogue.VENDORS[listing.vendor].company} `{listing.path}`{listing.remark}"


def _limit(kind: type[HttpProvider]) -> str:
    default = catalogue.VENDORS[kind.vendor].per_minute
    provider = kind(NOBODY, Access(SecretStr("none"), kind.host), default)
    *most, last = (f"{each.calls}/{_UNITS[int(each.seconds)]}" for each in provider.windows)
    others = [
        each.name
        for each in PROVIDERS.values()
        if (each.bucket or each.name) == provider.bucket and each.name != kind.name
    ]
    shared = f", with {_code(others)}" if others else ""
    return (f"{', '.join(most)} and {last}" if most else last) + shared


# Fields


def fields() -> str:
    """Those of each section, in the order of the table; a list is marked."""
    return _table(
        ("section", "fields", "and where a provider has them"),
        *(
            (
                f"`{kind.section}`",
                _code(_marked(kind, name) for name in types if name in FIELDS[kind]),
                _code(_marked(kind, name) for name in types if name not in FIELDS[kind]),
            )
            for kind, types in TYPES.items()
        ),
    )


def _marked(kind: Kind, name: str) -> str:
    return f"{name}[]" if TYPES[kind][name] is ValueType.TEXTS else name


# Commands


def commands() -> str:
    listed = getattr(get_command(cli), "commands", {})
    parts = [_command(name, command) for name, command in listed.items()]
    return "\n".join([*parts, "## Exit codes\n\n" + _exit_codes()])


def _command(name: str, command: Any) -> str:
    paragraphs = re.split(r"\n\s*\n", (command.help or "").strip())
    said = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    rows = [_parameter(each) for each in command.params if each.name != "help"]
    usage = " ".join(
        each for each in (name, "[OPTIONS]" if rows else "", *_arguments(command)) if each
    )
    table = "\n" + _table(("argument", "default", "what it does"), *rows) if rows else ""
    return f"## enricher {name}\n\n```\nenricher {usage}\n```\n\n{said}\n{table}"


def _arguments(command: Any) -> list[str]:
    return [_name(each) for each in command.params if each.param_type_name != "option"]


def _name(parameter: Any) -> str:
    is_option = parameter.param_type_name == "option"
    return ", ".join(parameter.opts) if is_option else parameter.metavar or parameter.name.upper()


def _parameter(parameter: Any) -> tuple[str, str, str]:
    given = _name(parameter).replace("|", "\\|")
    default = parameter.default
    shown = "" if default is None or isinstance(default, bool) else f"`{default}`"
    return f"`{given}`", shown, str(getattr(parameter, "help", None) or "")


def _exit_codes() -> str:
    """Each member of `ExitCode` with the text that stands below it."""
    tree = ast.parse((CODE / "errors.py").read_text("utf-8"))
    [kind] = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "ExitCode"]
    codes = [_value(node.value) for node in kind.body if isinstance(node, ast.Assign)]
    texts = [_value(node.value) for node in kind.body[1:] if isinstance(node, ast.Expr)]
    rows = ((f"`{code}`", str(text)) for code, text in zip(codes, texts, strict=True))
    return _table(("code", "meaning"), *rows)


def _value(node: ast.expr) -> object:
    return ast.literal_eval(node)


# Series

_INFO = {"enricher_build": ("version",)}
"""Labels that come with the value."""


def series() -> str:
    """All of them as they are declared."""
    collected = {each.name: each for each in metrics.REGISTRY.collect()}
    rows = [
        (f"`{full_name(each)}`", each.type, _code(labels), each.documentation)
        for each, labels in ((collected[name], of) for name, of in _declared(metrics).items())
    ]
    return (
        _table(("series", "type", "labels", "meaning"), *rows)
        + "\n## Values of the labels\n\n"
        + "\n".join(_values(label_values()))
        + "\n"
    )


def _declared(module: ModuleType) -> dict[str, Sequence[str]]:
    """Series -> labels, in the order in which the module names them."""
    made = [each for each in vars(module).values() if isinstance(each, MetricWrapperBase)]
    return {each._name: each._labelnames or _INFO.get(each._name, ()) for each in made}


def full_name(family: Any) -> str:
    """The name that a query uses; a histogram has `_bucket`, `_sum` and `_count` after it."""
    return str(family.name) + {"counter": "_total", "info": "_info"}.get(family.type, "")


def label_values() -> dict[str, dict[str, dict[str, None]]]:
    """Series -> label -> values, in the order in which they are declared. As a process of its own counts
    them: in this one, other tests do."""
    found: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
    for name, labels in re.findall(r"^(enricher_\w+){(.*)}", _exposition(), re.MULTILINE):
        of = found[re.sub(r"_(bucket|sum|count)$", "", name)]
        for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
            if label != "le":
                of[label][value] = None
    return found


def _exposition() -> str:
    program = (
        "from prometheus_client import generate_latest\n"
        "from enricher.telemetry import metrics\n"
        "metrics.initialise('0', ['local'])\n"
        "print(generate_latest(metrics.REGISTRY).decode())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return ran.stdout


def _values(known: Mapping[str, Mapping[str, Iterable[str]]]) -> Iterator[str]:
    """One item for each set of values, with the series that have it."""
    users: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for name, labels in sorted(known.items()):
        for label in labels.keys() - OPEN_LABELS:
            users[label, tuple(labels[label])].append(name)
    for (label, values), names in sorted(users.items()):
        words = ", ".join(_with_meaning(label, value) for value in values)
        yield f"- `{label}` of {_code(names)}: {words}"


def _with_meaning(label: str, value: str) -> str:
    meaning = MEANINGS.get((label, value))
    return f"`{value}` ({meaning})" if meaning else f"`{value}`"


# Events


def events() -> str:
    levels = logged()
    rows = [(f"`{name}`", levels.get(name, "?"), text) for name, text in EVENTS.items()]
    return _table(("event", "level", "what happened, and what to do"), *rows)


def logged() -> dict[str, str]:
    """Event -> level of every call of the logger, also of one bound to fields before."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(CODE.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                level = LEVELS.get(call.func.attr)
                words = [a.value for a in call.args if isinstance(a, ast.Constant)]
                for word in words:
                    if level and isinstance(word, str) and EVENT.fullmatch(word):
                        found[word].add(level)
    return {name: " or ".join(sorted(levels)) for name, levels in found.items()}


def main() -> None:
    for path, make in files().items():
        path.write_text(make(), "utf-8")


if __name__ == "__main__":
    main()
