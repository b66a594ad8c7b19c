"""alertdrill.toml: strict, and an error names file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from alertdrill.config import Gate, find_root, line_of, load_config
from alertdrill.errors import UsageError

ROOT = Path(__file__).parents[1]
GOOD = """\
name = "x"
stack = "no_such_module_of_mine:STACK"

[monitoring]
prometheus = "p.yml"
alertmanager = "a.yml"
jobs = ["hub"]

[target]
component = "hub"

[alerts.High]
receiver = "oncall"
within = "5m"
resolved_within = "5m"
"""


def write(folder: Path, text: str) -> Path:
    (folder / "alertdrill.toml").write_text(text, encoding="utf-8")
    return folder


def test_the_shipped_file_is_valid_and_every_expected_alert_has_a_receiver() -> None:
    config = load_config(ROOT)
    assert config.load_stack().components
    assert all(expectation.receiver for expectation in config.alerts.values())


def test_defaults(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD))
    assert (config.clock.factor, config.gate.profiles) == (60, ("core",))


@pytest.mark.parametrize(
    ("bad", "line", "words"),
    [
        (GOOD.replace("[target]", "[target]\nporrt = 'a'"), 10, "unknown key 'target.porrt'"),
        (GOOD + 'labls = "x"\n', 16, "unknown key 'alerts.High.labls'"),
        (GOOD.replace('\nwithin = "5m"', '\nwithin = "five"'), 14, "alerts.High.within"),
        (GOOD + "[gates]\nstacks = 2\n", 16, "unknown key 'gates'"),
        (GOOD.replace('receiver = "oncall"\n', ""), 12, "missing key 'alerts.High.receiver'"),
        (GOOD.replace("receiver =", "reciever ="), 13, "unknown key 'alerts.High.reciever'"),
        (GOOD + "[clock]\nfactor = 0.5\n", 17, "clock.factor: Input should be greater"),
        (GOOD + "[gate]\nstacks = 0\n", 17, "gate.stacks"),
        (GOOD.replace('name = "x"', "name = x"), 1, "not valid TOML"),
        (GOOD + 'undrilled = " "\n', 16, "alerts.High.undrilled"),
        (
            GOOD + '[faults."slow(a.b)"]\n',
            16,
            "missing key 'faults.slow(a.b).unnoticed'",
        ),
        (GOOD + '[faults."slow(a.b)"]\nunnoticed = ""\n', 17, "faults.slow(a.b).unnoticed"),
    ],
    ids=[
        *(
            "key",
            "nested key",
            "duration",
            "table",
            "missing",
            "misspelt",
            "factor",
            "stacks",
            "syntax",
        ),
        *("reason", "no reason", "empty reason"),
    ],
)
def test_a_bad_file_is_one_sentence_with_its_line(
    tmp_path: Path, bad: str, line: int, words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(write(tmp_path, bad))
    assert caught.value.line == line
    assert str(caught.value).startswith(f"{tmp_path / 'alertdrill.toml'}:{line}: ")
    assert words in str(caught.value)


def test_a_stack_that_cannot_be_imported_points_at_its_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no_such_module_of_mine") as caught:
        load_config(write(tmp_path, GOOD)).load_stack()
    assert caught.value.line == 2


def test_the_root_is_found_from_below_or_said_to_be_missing(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_root(below) == tmp_path
    with pytest.raises(UsageError, match="run this inside a project"):
        find_root(Path("/"))


def test_what_an_alert_needs_is_declared(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD + 'needs = "store"\n'))
    assert config.needs(["hub", "store"]) == {"High": "store"}
    with pytest.raises(UsageError, match=r"High\] needs store, which the stack has not") as caught:
        config.needs(["hub"])
    assert caught.value.line == 16


def test_a_night_may_have_profiles_and_stacks_of_its_own(tmp_path: Path) -> None:
    def gate(*lines: str) -> Gate:
        return load_config(write(tmp_path, "\n".join((GOOD, "[gate]", "stacks = 4", *lines)))).gate

    own = gate('nightly_profiles = ["full"]', "nightly_stacks = 2").by_night()
    assert (own.profiles, own.stacks) == (("full",), 2)
    same = gate().by_night()
    assert (same.profiles, same.stacks) == (("core",), 4)


def test_an_expected_alert_that_no_rule_defines(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD))
    config.refuse_unknown_alerts({"High", "Low"})
    with pytest.raises(UsageError, match=r"\[alerts.High\]: no rule defines High") as caught:
        config.refuse_unknown_alerts({"Low"})
    assert caught.value.line == 12


REASONS = """\
undrilled = "its drill takes an hour"

[faults."latency(redis)"]
unnoticed = "the cache is no promise to anyone"
"""


def test_reasons_stand_until_a_drill_contradicts_them(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD + REASONS))
    assert config.undrilled == {"High": "its drill takes an hour"}
    config.refuse_stale_reasons([("kill(hub)", {"Low"}), ("latency(redis)", set())])
    for fault, alert, line, words in (
        ("kill(hub)", "High", 16, "why no drill fires it, and kill(hub) does: remove `undrilled`"),
        ("latency(redis)", "Low", 19, "why no alert notices it, and Low must: remove `unnoticed`"),
    ):
        with pytest.raises(UsageError) as caught:
            config.refuse_stale_reasons([(fault, {alert})])
        assert caught.value.line == line
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "location", "line"),
    [
        ('[a]\nb = 1\n[faults."x(y.z)"]\nwhy = "="', ("faults", "x(y.z)", "why"), 4),
        ("[faults.'q]=']\nwhy = 1", ("faults", "q]=", "why"), 2),
        ('[faults]\n"x.y" . why = 1', ("faults", "x.y", "why"), 2),
        ("[[rows]]\nn = 1", ("rows", 0, "n"), 2),
        ("[a]\nb = 1", ("c",), None),
    ],
)
def test_the_line_of_a_key(text: str, location: tuple[str | int, ...], line: int | None) -> None:
    assert line_of(text, location) == line


FOREIGN = '\n[foreign]\nallow_faults = true\ntime_limit = "2m"\n'


def test_a_fault_on_another_run_s_stack_must_be_allowed_and_short(tmp_path: Path) -> None:
    silent = load_config(write(tmp_path, GOOD))
    with pytest.raises(UsageError, match=r"unless \[foreign\] says allow_faults = true"):
        silent.refuse_fault(1.0)
    allowed = load_config(write(tmp_path, GOOD + FOREIGN))
    allowed.refuse_fault(120.0)
    with pytest.raises(UsageError, match="for at most 2m, not for 121 s") as caught:
        allowed.refuse_fault(121.0)
    assert caught.value.line == (GOOD + FOREIGN).count("\n")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("allow_faults = true", "allow_faults needs a time_limit"),
        ('allow_faults = true\ntime_limit = "soon"', "not a duration: 'soon'"),
        ("allow_fault = true", "unknown key 'foreign.allow_fault'"),
    ],
)
def test_a_foreign_table_that_makes_no_sense(tmp_path: Path, lines: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(write(tmp_path, f"{GOOD}\n[foreign]\n{lines}\n"))
    assert words in str(caught.value)
    assert caught.value.line is not None
