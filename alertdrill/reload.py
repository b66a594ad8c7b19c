"""Gives a running stack other monitoring files, and waits until they are in force."""

from __future__ import annotations

from pathlib import Path

import httpx

from alertdrill.assemble import compress_into, load_compressed, unsound_alerts
from alertdrill.bench import Bench
from alertdrill.errors import SignalError
from alertdrill.wait import eventually

RELOAD_TIMEOUT_S = 10.0
# Prometheus takes up changed targets at most every 5 s.
IN_FORCE_S = 20.0


def reload_monitoring(bench: Bench, source: Path, overlay: Path) -> None:
    """Compress the files of ``source`` into ``overlay``, copy them in, reload, await the rules.

    ``bench.monitoring`` is then what was loaded. Raises UsageError when the files are not valid
    (the stack keeps what it had), SignalError when Prometheus or Alertmanager refuses them.
    """
    config = bench.config
    compressed = compress_into(config, overlay, source)
    monitoring = load_compressed(config, overlay)
    for component in ("prometheus", "alertmanager"):
        for path, name in bench.stack.files(component).items():
            if (overlay / name).is_file():
                bench.stack.put(component, path, (overlay / name).read_bytes())
        _post_reload(bench.stack.url(component), component)
    bench.monitoring = monitoring
    bench.unsound = unsound_alerts(config, compressed, monitoring)

    jobs = monitoring.prometheus.jobs
    targets = {
        (job.name, f"http://{target}{job.metrics_path}") for job in jobs for target in job.targets
    }
    discovered = {job.name for job in jobs if not job.targets}

    def in_force() -> bool:
        rules = {rule.name for rule in bench.alerts.rules() if rule.evaluated}
        scraped = {
            (target.job, target.url)
            for target in bench.metrics.targets()
            if target.job not in discovered
        }
        return rules == set(monitoring.alerts) and scraped == targets

    eventually(in_force, timeout_s=IN_FORCE_S, what="Prometheus to use its new files")


def _post_reload(url: str, component: str) -> None:
    try:
        answer = httpx.post(
            url + "/-/reload", timeout=RELOAD_TIMEOUT_S, trust_env=False, verify=False
        )
    except httpx.HTTPError as error:
        raise SignalError(f"{component} can't be told to reload: {error}") from error
    if not answer.is_success:
        raise SignalError(f"{component} refuses its files: {answer.text.strip()[:500]}")
