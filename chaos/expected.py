"""What several drills expect."""

from __future__ import annotations

from alertdrill.checks.expected import Failing, LogLine

# What clients see: next to nothing works, or nothing fails.
HARMED = {"SyncUser": Failing(at_least=0.9), "ApiUser": Failing(at_least=0.9)}
UNHARMED = {"SyncUser": Failing(at_most=0.01), "ApiUser": Failing(at_most=0.01)}
ONLY_SYNCS_HARMED = UNHARMED | {"SyncUser": Failing(at_least=0.9)}
# Where requests fail by chance, about a third of the syncs does: of 38, fewer than a tenth once in
# 900 drills (binomial).
SOME_SYNCS_HARMED = UNHARMED | {"SyncUser": Failing(at_least=0.1)}

# A deploy takes the hub away for as long as it boots.
DEPLOYING = {"APIUnavailable", "NoSuccessfulSyncs"}
BOOT_S = 4.0

SYNC_FAILED = LogLine("ERROR", "sync_failed", joins_trace=True)
