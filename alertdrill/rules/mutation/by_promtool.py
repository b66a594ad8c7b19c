"""Mutants judged by a project's promtool tests."""

from __future__ import annotations

import hashlib
import itertools
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from alertdrill.rules.document import Place
from alertdrill.rules.mutation.killer import Invalid, Killed, Outcome, Survived
from alertdrill.rules.mutation.mutants import Mutant, Source
from alertdrill.rules.mutation.pack import (
    CONTROL,
    RuleDocument,
    SuiteCase,
    SuiteFile,
    mutated_rule,
    renamed,
    variant_name,
    verdict_of,
)
from alertdrill.rules.promtool import FileResult, Promtool
from alertdrill.rules.testing.document import TestFile, that_load
from alertdrill.rules.testing.emit import emit

# Files of whole mutants in one process.
_WHOLE_BATCH = 40


@dataclass
class _Hunt:
    """The mutants of one alert that no case has killed yet, by their number."""

    alert: str
    left: dict[int, Mutant]
    rounds: Iterator[tuple[SuiteFile, Sequence[SuiteCase]]]
    whole: list[tuple[SuiteFile, SuiteCase]] = field(default_factory=list)


@dataclass(frozen=True)
class _Pack:
    """One test file for promtool: the mutants of a hunt in some cases of a file."""

    hunt: _Hunt
    suite_file: SuiteFile
    cases: Sequence[SuiteCase]
    numbers: tuple[int, ...]
    path: Path


class PromtoolKiller:
    """Kills mutants of ``source`` with those of ``tests`` that load it.

    Verdicts are those of one promtool process per mutant, which fails when any test of any such
    file fails. Thread-safe.
    """

    def __init__(
        self, source: Source, tests: Sequence[TestFile], promtool: Promtool, scratch: Path
    ) -> None:
        self._source = source
        self._promtool = promtool
        self._scratch = scratch
        documents: dict[Path, RuleDocument] = {}
        files = []
        for test_file in that_load(source.path, tests):
            for path in test_file.rule_files:
                if path not in documents:
                    documents[path] = RuleDocument.read(path)
            files.append(
                SuiteFile(
                    test_file,
                    tuple(SuiteCase.of(case) for case in test_file.cases),
                    tuple(documents[path] for path in test_file.rule_files),
                )
            )
        self._files = tuple(files)
        self._documents = tuple(documents)

    @property
    def name(self) -> str:
        return "promtool tests"

    @property
    def test_files(self) -> tuple[Path, ...]:
        return tuple(file.test_file.path for file in self._files)

    @cached_property
    def fingerprint(self) -> str:
        """Of promtool, the test files and every rule file that they load."""
        content = hashlib.sha256(self._promtool.version().encode())
        for path in (*self.test_files, *self._documents):
            content.update(path.read_bytes())
        return content.hexdigest()

    def stop(self) -> None:
        self._promtool.stop()

    def kills(self, mutants: Sequence[Mutant]) -> Mapping[Mutant, Outcome]:
        """Raises PromtoolFailed, and Stopped after ``stop``."""
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            return _Call(self._source, self._files, self._promtool, Path(folder)).judge(mutants)

    def whole(self, mutant: Mutant, folder: Path) -> list[Path]:
        """Every test file, copied into ``folder`` (empty) to load the file with ``mutant`` in
        place of the original: what one promtool process per mutant runs."""
        call = _Call(self._source, self._files, self._promtool, folder)
        return [call.whole(mutant, file, file.cases) for file in self._files]


class _Call:
    """One call of ``kills``: what it has found so far, and where it writes."""

    def __init__(
        self, source: Source, files: tuple[SuiteFile, ...], promtool: Promtool, folder: Path
    ) -> None:
        self._source = source
        self._files = files
        self._promtool = promtool
        self._folder = folder
        self._numbers = itertools.count()
        self._outcomes: dict[Mutant, Outcome] = {}
        self._rules: dict[Mutant, Place] = {}

    def judge(self, mutants: Sequence[Mutant]) -> dict[Mutant, Outcome]:
        self._outcomes.update(self._invalid(mutants))
        rest = [mutant for mutant in mutants if mutant not in self._outcomes]
        hunts = self._hunts([mutant for mutant in rest if mutant.rule.is_alert])
        while packs := [pack for hunt in hunts for pack in self._next_packs(hunt)]:
            self._judge_packs(packs)
        for hunt in hunts:
            for suite_file, case in hunt.whole:
                self._judge_whole(list(hunt.left.values()), suite_file, [case])
                hunt.left = {n: m for n, m in hunt.left.items() if m not in self._outcomes}
        for suite_file in self._files:
            recordings = [m for m in rest if not m.rule.is_alert and m not in self._outcomes]
            self._judge_whole(recordings, suite_file, suite_file.cases)
        return {mutant: self._outcomes.get(mutant, Survived()) for mutant in mutants}

    # --- invalid ---------------------------------------------------------------------------

    def _invalid(self, mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, Invalid]]:
        """Those that Prometheus would not load. One process for all, mostly."""
        if not mutants:
            return
        rules = [emit(self._rule(mutant).node) for mutant in mutants]
        together = self._write(f"groups: [{{name: mutants, rules: [{', '.join(rules)}]}}]\n")
        said = self._promtool.check([together])[together]
        if said is None:
            return
        refused = {}
        for line in said.splitlines():
            found = re.search(r"group \"mutants\", rule (\d+), (.*)", line)
            if found:
                refused[int(found[1]) - 1] = found[2]
        if refused:
            yield from ((mutants[index], Invalid(why)) for index, why in refused.items())
            return
        # Not even read as rules: one of them spoils the file, so each gets its own.
        files = [self._write(self._source.mutated(mutant)) for mutant in mutants]
        answers = self._promtool.check(files)
        for mutant, file in zip(mutants, files, strict=True):
            why = answers[file]
            if why is not None:
                yield mutant, Invalid(why)

    # --- packed ----------------------------------------------------------------------------

    def _hunts(self, mutants: Sequence[Mutant]) -> list[_Hunt]:
        hunts = []
        for alert in dict.fromkeys(mutant.rule.name for mutant in mutants):
            own = [mutant for mutant in mutants if mutant.rule.name == alert]
            hunt = _Hunt(alert, dict(enumerate(own, CONTROL + 1)), iter(()))
            hunt.rounds = self._rounds(hunt)
            hunts.append(hunt)
        return hunts

    def _rounds(self, hunt: _Hunt) -> Iterator[tuple[SuiteFile, Sequence[SuiteCase]]]:
        """Few cases first, since most mutants die early; then twice as many each time. Last,
        those that say nothing of the alert: a mutant may still be one that can't be evaluated."""
        for asserting in (True, False):
            for suite_file in self._files:
                cases = [
                    case for case in suite_file.cases if (hunt.alert in case.alerts) is asserting
                ]
                packable = [case for case in cases if suite_file.can_pack and not case.is_whole]
                hunt.whole += [(suite_file, case) for case in cases if case not in packable]
                size = 1 if asserting else len(packable)
                while packable:
                    yield suite_file, packable[:size]
                    packable, size = packable[size:], 2 * size

    def _next_packs(self, hunt: _Hunt) -> list[_Pack]:
        if not hunt.left:
            return []
        chosen = next(hunt.rounds, None)
        return [] if chosen is None else [self._pack(hunt, *chosen)]

    def _pack(self, hunt: _Hunt, suite_file: SuiteFile, cases: Sequence[SuiteCase]) -> _Pack:
        numbers = (CONTROL, *hunt.left)
        rule_files = [
            self._write(document.with_rules(self._variants(hunt, document)))
            for document in suite_file.documents
        ]
        text = suite_file.with_cases(
            rule_files, [case.packed(hunt.alert, numbers) for case in cases]
        )
        return _Pack(hunt, suite_file, cases, numbers, self._write(text))

    def _variants(self, hunt: _Hunt, document: RuleDocument) -> dict[tuple[int, int], list[str]]:
        is_mutated = document.path == self._source.path.resolve()
        variants = {}
        for position, rule in document.family(hunt.alert).items():
            own: list[tuple[int, Place]] = [(CONTROL, rule)]
            for number, mutant in hunt.left.items():
                changed = is_mutated and position == (mutant.rule.group, mutant.rule.index)
                own.append((number, self._rule(mutant) if changed else rule))
            variants[position] = [
                renamed(place, variant_name(hunt.alert, number)) for number, place in own
            ]
        return variants

    def _judge_packs(self, packs: Sequence[_Pack]) -> None:
        results = self._promtool.test([pack.path for pack in packs])
        again = []
        for pack, result in zip(packs, results, strict=True):
            cases = self._read(pack, result)
            if cases and pack.hunt.left:
                again.append(self._pack(pack.hunt, pack.suite_file, cases))
        if again:
            self._judge_packs(again)

    def _read(self, pack: _Pack, result: FileResult) -> list[SuiteCase]:
        """Take what died out of the hunt; returns the cases that must be run again, because a
        mutant that can't be evaluated ended them for all."""
        hunt, again = pack.hunt, []
        if result.error is not None:
            hunt.whole += [(pack.suite_file, case) for case in pack.cases]
            return []
        for case, found in zip(pack.cases, result.cases, strict=True):
            deaths = [verdict_of(failure, hunt.alert) for failure in found.failures]
            if any(death is None or death[0] == CONTROL for death in deaths):
                hunt.whole.append((pack.suite_file, case))
                continue
            where = f"{pack.suite_file.test_file.path.name}: {case.case.name}"
            for number, what in filter(None, deaths):
                mutant = hunt.left.pop(number, None)
                if mutant is not None:
                    self._outcomes[mutant] = Killed(f"{where}, {what}")
            if any(death and death[1].startswith("can't") for death in deaths):
                again.append(case)
        return again

    # --- one file each ---------------------------------------------------------------------

    def whole(self, mutant: Mutant, suite_file: SuiteFile, cases: Sequence[SuiteCase]) -> Path:
        mutated = self._write(self._source.mutated(mutant))
        original = self._source.path.resolve()
        rule_files = [
            mutated if path == original else path for path in suite_file.test_file.rule_files
        ]
        return self._write(
            suite_file.with_cases(rule_files, [emit(case.case.place.node) for case in cases])
        )

    def _judge_whole(
        self,
        mutants: Sequence[Mutant],
        suite_file: SuiteFile,
        cases: Sequence[SuiteCase],
    ) -> None:
        for start in range(0, len(mutants), _WHOLE_BATCH):
            batch = mutants[start : start + _WHOLE_BATCH]
            files = [self.whole(mutant, suite_file, cases) for mutant in batch]
            results = self._promtool.test(files)
            for mutant, result in zip(batch, results, strict=True):
                failed = [case.name for case in result.cases if not case.passed]
                if not result.passed:
                    what = failed[0] if failed else "can't be loaded"
                    self._outcomes[mutant] = Killed(f"{suite_file.test_file.path.name}: {what}")

    def _rule(self, mutant: Mutant) -> Place:
        if mutant not in self._rules:
            self._rules[mutant] = mutated_rule(mutant, self._source.path)
        return self._rules[mutant]

    def _write(self, text: str) -> Path:
        path = self._folder / f"{next(self._numbers)}.yml"
        path.write_bytes(text.encode("utf-8"))
        return path
