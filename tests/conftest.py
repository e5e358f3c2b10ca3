"""What every test may use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))
# A shared machine is slow at moments: no deadline. A failing example prints how to be run again.
settings.register_profile("quick", deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", deadline=None, max_examples=20_000)
settings.load_profile(os.environ.get("MASKGATE_HYPOTHESIS", "quick"))
