"""What an operator may write, and what he is told when it is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from enricher.errors import ExitCode, SettingsError
from enricher.settings.load import HttpSettings, Settings, WorkSettings, documented, load


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)


def problems(environ: dict[str, str], env_file: str | Path | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(environ, env_file)
    return caught.value.problems


def test_without_any_variable_everything_has_its_default() -> None:
    assert load({}, None) == Settings()


def test_the_defaults_are_those_of_the_readme() -> None:
    settings = load({}, None)
    assert settings.mongo.uri is None
    assert (settings.mongo.database, settings.mongo.collection) == ("crm", "leads")
    assert settings.vendors["clearbit"].per_minute == 600
    assert settings.vendors["hunter"].per_minute == 300
    assert settings.vendors["hunter"].base_url == "https://api.hunter.io"
    assert settings.vendors["pdl"].per_minute == 10
    assert settings.vendors["pdl"].base_url == "https://api.peopledatalabs.com"
    assert settings.vendors["apollo"].per_minute == 50
    assert settings.vendors["apollo"].base_url == "https://api.apollo.io"
    assert settings.work.max_attempts == 3
    assert settings.priority.order == ("hot", "warm", "cold")
    assert settings.http.port == 9464
    assert settings.log.level == "INFO"
    assert settings.vendors["hunter"].daily_budget is None
    assert settings.vendors["hunter"].monthly_budget is None
    assert (settings.cache.days, settings.cache.negative_days) == (7, 1)
    assert (settings.quota.account_field, settings.quota.plan_field) == ("account_id", "plan")
    assert settings.quota.plans == {}


def test_the_environment_is_read() -> None:
    settings = load(
        {
            "MONGODB_URI": "mongodb://u:p%40ss@db1,db2:27018/?replicaSet=rs0",
            "CLEARBIT_API_KEY": " sk_1 \n",
            "CLEARBIT_BASE_URL": "http://localhost:8080/",
            "ENRICHER_CONCURRENCY": "7",
            "ENRICHER_LEASE_SECONDS": "1.5",
            "ENRICHER_STREAM": "false",
            "ENRICHER_PRIORITY_ORDER": '["a", "b"]',
            "ENRICHER_INTERNAL_DOMAINS": '["Acme.COM "]',
            "HUNTER_DAILY_BUDGET": "100",
            "CLEARBIT_MONTHLY_BUDGET": "0",
            "ENRICHER_CACHE_DAYS": "0.5",
            "ENRICHER_NEGATIVE_CACHE_DAYS": "0",
            "ENRICHER_ACCOUNT_FIELD": "owner.account",
            "ENRICHER_PLAN_FIELD": "owner.plan",
            "ENRICHER_PLAN_QUOTAS": '{"Free": 10, "none": 0}',
            "ENRICHER_LOG_LEVEL": "debug",
            "ENRICHER_LOG_FORMAT": "Console",
        },
        None,
    )
    assert settings.mongo.uri is not None
    assert settings.vendors["clearbit"].key == SecretStr("sk_1")
    assert settings.vendors["clearbit"].base_url == "http://localhost:8080"
    assert settings.vendors["hunter"].key is None
    assert (settings.work.concurrency, settings.work.lease_seconds) == (7, 1.5)
    assert settings.work.stream is False
    assert settings.priority.order == ("a", "b")
    assert settings.identity.internal_domains == ("acme.com",)
    assert (settings.log.level, settings.log.format) == ("DEBUG", "console")
    hunter, clearbit = settings.vendors["hunter"], settings.vendors["clearbit"]
    assert (hunter.daily_budget, hunter.monthly_budget) == (100, None)
    assert (clearbit.daily_budget, clearbit.monthly_budget) == (None, 0)
    assert (settings.cache.days, settings.cache.negative_days) == (0.5, 0)
    assert settings.quota.account_field == "owner.account"
    assert settings.quota.plan_field == "owner.plan"
    assert settings.quota.plans == {"Free": 10, "none": 0}


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENRICHER_CONCURRENCY", "9")
    assert load(env_file=None).work.concurrency == 9


def test_a_section_built_directly_reads_nothing_from_outside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENRICHER_CONCURRENCY", "9")
    assert WorkSettings().concurrency == 64


def test_common_variables_named_like_a_field_are_not_taken_for_settings() -> None:
    assert load({"HOST": "10.0.0.1", "PORT": "1", "LEVEL": "x", "uri": "y"}, None) == Settings()


def test_sections_are_frozen() -> None:
    with pytest.raises(ValidationError):
        WorkSettings().concurrency = 1


# The file


def test_the_file_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("MONGODB_DATABASE=sales\nexport ENRICHER_CONCURRENCY=5  # few\n")
    settings = load({"MONGODB_DATABASE": "other"}, file)
    assert (settings.mongo.database, settings.work.concurrency) == ("other", 5)


def test_a_blank_value_means_not_given_and_turns_off_what_the_file_says(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("HUNTER_API_KEY=abc\nENRICHER_CONCURRENCY=\n")
    settings = load({"HUNTER_API_KEY": "  "}, file)
    assert settings.vendors["hunter"].key is None
    assert settings.work.concurrency == 64


def test_keys_of_others_in_the_file_are_ignored(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("DJANGO_SECRET=1\nif this were a script\nLEVEL=7\n")
    assert load({}, file) == Settings()


def test_a_byte_order_mark_does_not_hide_the_first_line(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("ENRICHER_CONCURRENCY=5\n", encoding="utf-8-sig")
    assert load({}, file).work.concurrency == 5


def test_a_missing_file_is_no_problem(tmp_path: Path) -> None:
    assert load({}, tmp_path / "none") == Settings()


def test_a_file_in_another_encoding_is_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"ENRICHER_HTTP_HOST=caf\xe9\n")
    assert problems({}, file) == [f"{file}: expected a readable UTF-8 file (UnicodeDecodeError)"]


def test_a_line_of_ours_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("A=1\nENRICHER_CONCURRENCY: 5\n")
    assert problems({}, file) == [f"{file} line 2: expected ENRICHER_CONCURRENCY=value"]


# Unknown names


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ENRICHER_CONCURENCY", "ENRICHER_CONCURRENCY"),
        ("enricher_stream", "ENRICHER_STREAM"),
        ("HUNTER_APIKEY", "HUNTER_API_KEY"),
        ("CLEARBIT_RATE_LIMITS", "CLEARBIT_RATE_LIMIT"),
        ("MONGODB_URL", "MONGODB_URI"),
        ("mongodb_uri", "MONGODB_URI"),
        ("MONGO_URI", "MONGODB_URI"),
        ("MONGO_URL", "MONGODB_URI"),
        ("MONGODB_DB", "MONGODB_DATABASE"),
        ("MONGO_DATABASE", "MONGODB_DATABASE"),
        ("LEADS_COLLECTON", "LEADS_COLLECTION"),
        ("LEAD_COLLECTION", "LEADS_COLLECTION"),
    ],
)
def test_a_mistyped_name_is_an_error_with_a_suggestion(name: str, meant: str) -> None:
    assert problems({name: "1"}) == [f"{name}: there is no such setting; did you mean {meant}?"]


def test_a_name_like_nothing_we_know_is_an_error_without_a_suggestion() -> None:
    assert problems({"APOLLO_ZZZ": "secret-value"}) == ["APOLLO_ZZZ: there is no such setting"]


def test_a_mistyped_name_in_the_file_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("HUNTER_API_KEYY=secret\n")
    assert problems({}, file) == [
        "HUNTER_API_KEYY: there is no such setting; did you mean HUNTER_API_KEY?"
    ]


def test_what_kubernetes_sets_for_a_service_of_our_name_is_no_mistake() -> None:
    links = {
        "ENRICHER_SERVICE_HOST": "10.0.0.1",
        "ENRICHER_SERVICE_PORT": "9464",
        "ENRICHER_SERVICE_PORT_METRICS": "9464",
        "ENRICHER_PORT": "tcp://10.0.0.1:9464",
        "ENRICHER_PORT_9464_TCP": "tcp://10.0.0.1:9464",
        "ENRICHER_PORT_9464_TCP_ADDR": "10.0.0.1",
    }
    assert load(links, None) == Settings()


@pytest.mark.parametrize(
    "name",
    [
        *("MONGODB_VERSION", "MONGODB_USER", "MONGODB_PORT", "MONGO_MAJOR", "LEADS_API_URL"),
        *("MONGODB_PASSWORD", "MONGO_INITDB_DATABASE", "DATABASE_URL"),
    ],
)
def test_what_images_and_other_tools_set_is_no_mistake(name: str) -> None:
    assert load({name: "postgres://somewhere/7.0"}, None) == Settings()


@pytest.mark.parametrize("name", ["DATABASE_URL", "DB_URI", "MONGODB_CONNECTION_STRING"])
def test_the_address_of_a_mongodb_under_another_name_is_a_mistake(name: str) -> None:
    assert problems({name: "mongodb://ada:hunter2@host/"}) == [
        f"{name}: there is no such setting; did you mean MONGODB_URI?"
    ]


def test_another_tools_name_is_no_mistake_beside_the_right_one() -> None:
    given = {"MONGODB_URI": "mongodb://right/", "MONGO_URL": "mongodb://other/"}
    assert load(given, None) == load({"MONGODB_URI": "mongodb://right/"}, None)


def test_a_mistyped_port_is_still_found() -> None:
    assert problems({"ENRICHER_PORT": "9464"})[0].startswith("ENRICHER_PORT: there is no such")


# Wrong values


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        (
            "ENRICHER_CONCURRENCY",
            "abc",
            "expected a whole number, at least 1, at most 10000 (value not shown)",
        ),
        (
            "ENRICHER_CONCURRENCY",
            "0",
            "expected a whole number, at least 1, at most 10000, got 0",
        ),
        (
            "ENRICHER_LEASE_SECONDS",
            "nan",
            "expected a number, at least 1, at most 86400, got nan",
        ),
        (
            "ENRICHER_POLL_SECONDS",
            "0",
            "expected a number, more than 0, at most 86400, got 0",
        ),
        (
            "ENRICHER_HTTP_PORT",
            "70000",
            "expected a whole number, at least 0, at most 65535, got 70000",
        ),
        ("ENRICHER_STREAM", "maybe", "expected true or false (value not shown)"),
        (
            "ENRICHER_PRIORITY_ORDER",
            "hot,cold",
            'expected a JSON list of strings, like ["one","two"] (value not shown)',
        ),
        (
            "ENRICHER_INTERNAL_DOMAINS",
            '["a@b.com"]',
            'expected domains without @, * and path, like ["example.com"] (value not shown)',
        ),
        (
            "ENRICHER_INTERNAL_DOMAINS",
            '["*.example.com"]',
            'expected domains without @, * and path, like ["example.com"] (value not shown)',
        ),
        (
            "HUNTER_DAILY_BUDGET",
            "1e3",
            "expected a whole number, at least 0, at most 1000000000, got 1e3",
        ),
        (
            "CLEARBIT_MONTHLY_BUDGET",
            "-1",
            "expected a whole number, at least 0, at most 1000000000, got -1",
        ),
        ("ENRICHER_CACHE_DAYS", "inf", "expected a number, at least 0, at most 3650, got inf"),
        ("ENRICHER_LOG_FORMAT", "xml", "expected 'json' or 'console' (value not shown)"),
        (
            "CLEARBIT_BASE_URL",
            "https://me:pw@host",
            "expected http:// or https:// and a host, without credentials or query (value not shown)",
        ),
    ],
)
def test_a_wrong_value_is_one_line_that_says_what_was_expected(
    name: str, value: str, line: str
) -> None:
    assert problems({name: value}) == [f"{name}: {line}"]


@pytest.mark.parametrize(
    "url",
    ["api.hunter.io", "ftp://host", "http://", "https://h:99999", "https://h?x=1", "http://["],
)
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    assert problems({"HUNTER_BASE_URL": url})[0].startswith("HUNTER_BASE_URL: ")


@pytest.mark.parametrize("name", ["a/b", "a b", "a.b", "$x", "x" * 64, "admin", "local", "config"])
def test_a_database_name_that_mongodb_or_a_change_stream_refuses_is_refused(name: str) -> None:
    assert problems({"MONGODB_DATABASE": name})[0].startswith("MONGODB_DATABASE: expected ")


@pytest.mark.parametrize(
    "name", ["a$b", "system.users", ".a", "a.", "a..b", "x" * 191, "enricher_usage"]
)
def test_a_collection_name_that_mongodb_refuses_or_that_is_ours_is_refused(name: str) -> None:
    assert problems({"LEADS_COLLECTION": name})[0].startswith("LEADS_COLLECTION: expected ")


@pytest.mark.parametrize("path", ["$x", "a..b", ".a", "a.$b"])
@pytest.mark.parametrize("of", ["PRIORITY", "ACCOUNT", "PLAN"])
def test_a_field_of_a_lead_that_is_no_path_is_refused(of: str, path: str) -> None:
    assert problems({f"ENRICHER_{of}_FIELD": path})[0].startswith(f"ENRICHER_{of}_FIELD: ")


@pytest.mark.parametrize(
    "quotas",
    [
        *("free=10", "free", "10", "[]", '["free"]', '[["free", 10]]', "null", "{", '{"free": 10'),
        *('{"free": "10"}', '{"free": 1.5}', '{"free": true}', '{"free": null}', '{"free": -1}'),
        *('{"free": {"leads": 10}}', '{"free": 100001}', '{"free": NaN}', "[" * 100_000),
    ],
)
def test_quotas_that_are_none_are_one_clear_line(quotas: str) -> None:
    shown = ", got 10" if quotas == "10" else " (value not shown)"
    assert problems({"ENRICHER_PLAN_QUOTAS": quotas}) == [
        (
            "ENRICHER_PLAN_QUOTAS: expected a JSON object of plans and whole numbers up to 100000, "
            f'like {{"free": 10}}{shown}'
        )
    ]


@pytest.mark.parametrize(
    "quotas", ['{"free": 10, "free": 20}', '{"free": 10, "Free ": 20}', '{" ": 1}']
)
def test_a_plan_has_one_quota_and_a_name(quotas: str) -> None:
    """Of two for one plan the larger might win by accident."""
    assert problems({"ENRICHER_PLAN_QUOTAS": quotas}) == [
        (
            "ENRICHER_PLAN_QUOTAS: expected a name for each plan, and each plan once "
            "(case does not count) (value not shown)"
        )
    ]


@pytest.mark.parametrize(
    "uri",
    [
        "localhost:27017",
        "mongodb://",
        "mongodb://host:99999",
        "mongodb://user:hunter2/x@host",
        "mongodb://user:hunter2@x@host/",
        "mongodb://user:p@ss/hunter2:rd#%x@host/",
        "mongodb://user:p@ss?hunter2:rd#%x@host/",
        "mongodb+srv://user:p@hunter2/rd@host/",
        "mongodb+srv://",
    ],
)
def test_a_wrong_uri_is_refused_without_showing_it(uri: str) -> None:
    [line] = problems({"MONGODB_URI": uri})
    assert line.startswith("MONGODB_URI: expected a")
    assert line.endswith("(value not shown)")
    assert "hunter2" not in line
    assert "@" not in uri or "percent-encode the user name and the password" in line


def test_an_srv_address_is_accepted_without_a_look_up() -> None:
    settings = load({"MONGODB_URI": "mongodb+srv://u:p@cluster0.example.invalid/?w=majority"}, None)
    assert settings.mongo.uri is not None


def test_an_option_that_the_driver_does_not_know_is_left_to_the_driver() -> None:
    assert load({"MONGODB_URI": "mongodb://h/?forAnotherDriver=1"}, None).mongo.uri is not None


@pytest.mark.parametrize("key", ["two words", "sk_ü", '"quoted"', "a\nb", "a\u200bb"])
def test_a_key_that_no_vendor_issues_is_refused_without_showing_it(key: str) -> None:
    [line] = problems({"HUNTER_API_KEY": key})
    assert line.startswith("HUNTER_API_KEY: expected a key of visible ASCII characters")
    assert line.endswith("(value not shown)")


def test_every_wrong_setting_has_its_line_and_the_exit_code_says_settings() -> None:
    environ = {"ENRICHER_CONCURRENCY": "x", "HUNTER_RATE_LIMIT": "0", "PDL_API_KEYS": "k"}
    with pytest.raises(SettingsError) as caught:
        load(environ, None)
    assert len(caught.value.problems) == 3
    assert caught.value.exit_code is ExitCode.SETTINGS


def test_secrets_do_not_appear_in_reprs() -> None:
    environ = {"HUNTER_API_KEY": "hunter-key", "MONGODB_URI": "mongodb://u:hunter2@h/"}
    assert "hunter2" not in repr(load(environ, None))
    assert "hunter-key" not in repr(load(environ, None))


def test_a_mistake_in_code_is_an_error_too() -> None:
    with pytest.raises(ValidationError):
        HttpSettings(prot=1)  # type: ignore[call-arg]


# Words


def test_logs_are_for_people_on_a_terminal_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert load({}, None).log.format == "console"
    assert load({"ENRICHER_LOG_FORMAT": "json"}, None).log.format == "json"


def test_every_setting_is_documented_by_one_sentence() -> None:
    rows = documented()
    assert len({name for name, _, _ in rows}) == len(rows)
    for name, default, sentence in rows:
        assert re.fullmatch(r"[A-Z][A-Z_]+", name)
        assert default
        assert re.fullmatch(r"[A-Z].*[^.]\.", sentence), name


def test_a_documented_default_can_be_written_back() -> None:
    written = {name: default for name, default, _ in documented() if default != "none"}
    assert load(written, None) == Settings()


# Providers


def test_providers_are_ordered_turned_off_and_asked_for_fields() -> None:
    found = load(
        {
            "ENRICHER_PROVIDER_ORDER": '["hunter_company", "clearbit"]',
            "ENRICHER_PROVIDERS_OFF": "[]",
            "ENRICHER_REQUIRED_FIELDS": '{"company": ["name", "description"]}',
        },
        None,
    ).providers
    assert (found.order, found.off) == (("hunter_company", "clearbit"), ())
    assert found.required == {"company": {"name", "description"}}


def test_clearbits_persons_are_off_until_somebody_turns_them_on() -> None:
    assert load({}, None).providers.off == ("clearbit_person",)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "ENRICHER_PROVIDER_ORDER",
            '["hunter_compny"]',
            "number 1 of the list is none of these: clearbit",
        ),
        ("ENRICHER_PROVIDER_ORDER", '["hunter", "hunter"]', "expected each provider once"),
        ("ENRICHER_PROVIDER_ORDER", "hunter", "expected a JSON list of strings"),
        ("ENRICHER_PROVIDERS_OFF", '["local"]', "number 1 of the list is none of these: clearbit"),
        ("ENRICHER_REQUIRED_FIELDS", "[]", "expected a JSON object of kinds"),
        ("ENRICHER_REQUIRED_FIELDS", "{", "expected a JSON object of kinds"),
        (
            "ENRICHER_REQUIRED_FIELDS",
            '{"people": ["name"]}',
            "expected kinds out of these: company",
        ),
        (
            "ENRICHER_REQUIRED_FIELDS",
            '{"company": ["nmae"]}',
            "number 1 of the list is none of the fields of company: ",
        ),
        (
            "ENRICHER_REQUIRED_FIELDS",
            '{"company": [{}]}',
            "number 1 of the list is none of the fields of company: ",
        ),
        ("ENRICHER_REQUIRED_FIELDS", '{"company": []}', "expected at least one field of company"),
        ("ENRICHER_REQUIRED_FIELDS", '{"company": "name"}', "expected at least one field"),
    ],
)
def test_what_no_provider_could_mean_is_one_clear_line(name: str, value: str, words: str) -> None:
    [line] = problems({name: value})
    assert line.startswith(f"{name}: {words}")


# The most that a lead may cost

_LIMITS = "expected a number, more than 0, at most 1000000"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        *((value, f"got {value}") for value in ("0", "-1", "nan", "inf", "1e309", "1000001")),
        ("abc", "value not shown"),
    ],
)
def test_a_ceiling_that_is_none_is_one_clear_line(value: str, said: str) -> None:
    (line,) = problems({"ENRICHER_MAX_CREDITS_PER_LEAD": value})
    assert line.startswith(f"ENRICHER_MAX_CREDITS_PER_LEAD: {_LIMITS}")
    assert said in line


@pytest.mark.parametrize("value", ["abc", "nan", "-0.5"])
def test_a_price_that_is_none_is_one_clear_line(value: str) -> None:
    (line,) = problems({"HUNTER_CREDIT_PRICE": value})
    assert line.startswith("HUNTER_CREDIT_PRICE: expected a number, at least 0")


def test_a_ceiling_adds_no_money_to_credits() -> None:
    keys = {"CLEARBIT_API_KEY": "a-key", "HUNTER_API_KEY": "a-key"}
    ceiling = keys | {"ENRICHER_MAX_CREDITS_PER_LEAD": "2"}
    (line,) = problems(ceiling | {"CLEARBIT_CREDIT_PRICE": "0.2", "PDL_CREDIT_PRICE": "1"})
    assert line.startswith("ENRICHER_MAX_CREDITS_PER_LEAD: counts money")
    assert line.endswith("there is no HUNTER_CREDIT_PRICE")
    alone = load(keys | {"CLEARBIT_CREDIT_PRICE": "0.2"}, None)
    assert alone.vendors["clearbit"].credit_price == 0.2, "a report counts each alone"
    for prices in ({}, {"CLEARBIT_CREDIT_PRICE": "0.2", "HUNTER_CREDIT_PRICE": "0"}):
        assert load(ceiling | prices, None).cost.most_per_lead == 2
