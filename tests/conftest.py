"""Choose how hard Hypothesis tries: HYPOTHESIS_PROFILE is `quick` (the default) or `check`."""

import os

from hypothesis import HealthCheck, settings

# No deadline and no complaint about slow inputs: the machine may be busy with something else,
# and a test that depends on its speed fails for reasons nobody can replay.
settings.register_profile(
    "quick",
    max_examples=60,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("check", settings.get_profile("quick"), max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
