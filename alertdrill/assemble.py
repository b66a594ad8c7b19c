"""From a project's files to a running bench: compress, resolve images, start, record."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from alertdrill.bench import Bench
from alertdrill.config import Config
from alertdrill.errors import DeadlineExceeded
from alertdrill.profiles import components_of, images_of
from alertdrill.report.folder import RunFolder
from alertdrill.rules.compress import Compressed, Unsound, compress
from alertdrill.rules.model import Monitoring, load_monitoring
from alertdrill.stack.component import StackSpec
from alertdrill.stack.engine import connect
from alertdrill.stack.images import ImageStore, ResolvedImage
from alertdrill.stack.progress import Progress
from alertdrill.stack.run import Stack
from alertdrill.timeline import Timeline
from alertdrill.wait import eventually

CACHE = ".cache"


def resolve_images(
    config: Config, spec: StackSpec, components: tuple[str, ...], progress: Progress
) -> dict[str, ResolvedImage]:
    """Have every image that ``components`` run. Raises EngineUnavailable, ImageUnavailable."""
    store = ImageStore(connect(), config.root, config.root / CACHE, spec.images)
    return store.resolve(images_of(spec, components), progress)


def load_original(config: Config) -> Monitoring:
    """The monitoring as it stands in the project. Raises UsageError with file and line."""
    return load_monitoring(
        config.path(config.monitoring.prometheus), config.path(config.monitoring.alertmanager)
    )


def runbooks(config: Config) -> dict[str, str]:
    """Where the runbooks are, by alert; of those that no rule defines, alertdrill.toml says it.

    Raises UsageError.
    """
    rules = load_original(config).alerts.values()
    urls = {rule.name: rule.annotations.get("runbook_url") for rule in rules}
    urls |= {name: config.alerts[name].runbook for name in config.switches}
    return {name: url for name, url in urls.items() if url is not None}


@contextlib.contextmanager
def open_bench(
    config: Config,
    folder: RunFolder,
    *,
    images: Mapping[str, ResolvedImage],
    profile: str,
    worker: str = "",
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Bench]:
    """A running stack of ``profile`` with its bench; stopped and removed at the end, whatever
    happens.

    Raises UsageError before anything starts when the monitoring files are not valid.
    """
    spec = config.load_stack()
    place = worker or "main"
    overlay = folder.path / "config" / place
    compressed = compress_into(config, overlay)
    loaded = load_compressed(config, overlay)
    numbers = itertools.count(1)

    def start(profile: str) -> Stack:
        number = next(numbers)
        again = f"-{number}" if number > 1 else ""
        return Stack(
            spec,
            components_of(spec, profile),
            images={name: image.reference for name, image in images.items()},
            project_root=config.root,
            run_id=(f"{folder.run_id}-{worker}" if worker else folder.run_id) + again,
            overlay=overlay,
            values=clock_values(spec, compressed),
            log_dir=folder.path / "containers" / (place + again),
            tell=tell,
        ).start()

    def settle(bench: Bench) -> None:
        _await_first_scrapes(bench)
        document = _stack_document(bench, images, compressed)
        folder.add_stack(bench.stack.run_id, document)

    bench = Bench(
        config=config,
        profile=profile,
        start=start,
        settle=settle,
        monitoring=loaded,
        unsound=unsound_alerts(config, compressed, loaded),
        run_dir=folder.path,
        timeline=Timeline(folder.timeline),
        tell=tell,
    )
    with bench:
        yield bench


def compress_into(config: Config, overlay: Path, source: Path | None = None) -> Compressed:
    """Write the compressed monitoring files below ``overlay``, under their project paths.

    ``source`` is a folder whose files take the place of the project's.
    """
    files = config.monitoring
    prometheus, alertmanager = (
        config.path(path) if source is None else source / path.name
        for path in (files.prometheus, files.alertmanager)
    )
    compressed = compress(prometheus, alertmanager, config.clock.factor)
    for name, text in compressed.texts.items():
        home = files.alertmanager if name == files.alertmanager.name else files.prometheus
        (overlay / home).parent.mkdir(parents=True, exist_ok=True)
        # Not write_text: it would translate line ends.
        (overlay / home).with_name(name).write_bytes(text.encode("utf-8"))
    return compressed


def load_compressed(config: Config, overlay: Path) -> Monitoring:
    """What the stack's Prometheus and Alertmanager will load, on its own clock."""
    return load_monitoring(
        overlay / config.monitoring.prometheus, overlay / config.monitoring.alertmanager
    )


def unsound_rules(config: Config, compressed: Compressed) -> list[Unsound]:
    """Rules that the run's clock changes; not those of which the project says that it can't."""
    sound = {name for name, alert in config.alerts.items() if alert.any_clock is not None}
    return [rule for rule in compressed.unsound if rule.calendar or rule.rule not in sound]


def unsound_alerts(
    config: Config, compressed: Compressed, monitoring: Monitoring
) -> dict[str, str]:
    """Why the run's clock can't show what an alert does on the real one, by its name."""
    if compressed.factor == 1:
        return {}
    rules = {rule.rule: rule.why for rule in unsound_rules(config, compressed)}
    if compressed.has_hours:
        why = "alertmanager.yml has time intervals: hours of the day can't be compressed"
        return dict.fromkeys(monitoring.alerts, why) | rules
    return rules


def clock_values(spec: StackSpec, compressed: Compressed) -> dict[str, str]:
    """What ``${name}`` in a component's command stands for on the run's clock: the stack's own
    durations, in seconds, and Prometheus' that are flags (``--query.lookback-delta`` becomes
    ``${query_lookback_delta}``)."""
    flags = {
        flag.removeprefix("--").replace(".", "_").replace("-", "_"): value
        for flag, value in compressed.flags.items()
    }
    return flags | spec.durations_on(compressed.factor)


def _stack_document(
    bench: Bench, images: Mapping[str, ResolvedImage], compressed: Compressed
) -> dict[str, object]:
    stack = bench.stack
    by_reference = {image.reference: image for image in images.values()}
    running = {started.image for started in stack.started}
    optional = set(bench.config.monitoring.optional_jobs)
    return {
        "run": stack.run_id,
        "profile": bench.profile,
        "ready_s": max((started.ready_s for started in stack.started), default=0.0),
        "components": [
            {
                "component": started.component,
                "image": started.image,
                "source": by_reference[started.image].source,
                "digest": by_reference[started.image].digest,
                "version": by_reference[started.image].version,
                "ready_s": started.ready_s,
            }
            for started in stack.started
        ],
        "unseen": [{"what": "the compressed clock", "why": note} for note in compressed.notes]
        + [
            {"what": f"{rule.rule} on the compressed clock", "why": f"{rule.why}; {rule.done}"}
            for rule in unsound_rules(bench.config, compressed)
        ]
        + [
            {"what": f"scrape job {target.job}", "why": f"down here: {target.error}"}
            for target in bench.metrics.targets()
            if target.job in optional and target.health == "down"
        ]
        + [
            {"what": image.name, "why": image.unverified}
            for image in images.values()
            if image.unverified is not None and image.reference in running
        ],
    }


def _await_first_scrapes(bench: Bench) -> None:
    """Only then is it known which targets are down."""

    def all_scraped() -> bool:
        return all(target.health != "unknown" for target in bench.metrics.targets())

    longest = max((job.scrape_interval_s for job in bench.monitoring.prometheus.jobs), default=0.0)
    with contextlib.suppress(DeadlineExceeded):  # the first drill says which it is
        eventually(all_scraped, timeout_s=2 * longest + 5.0, what="the first scrapes")
