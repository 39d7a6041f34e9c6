"""CleanRL's PPO script, from a clone, on Gymnasium's CartPole with its own settings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any


def prepare(steps: int, num_envs: int = 4, **_: Any) -> Callable[[], dict[str, float]]:
    """One call runs the script for `steps` steps; the speed is the one it prints, which leaves out its imports."""
    script = os.path.join(os.environ["CLEANRL"], "cleanrl", "ppo.py")
    command = [sys.executable, script, "--no-cuda", f"--total-timesteps={steps}", f"--num-envs={num_envs}"]

    def run() -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        speeds = re.findall(r"SPS: (\d+)", done.stdout)
        if not speeds:
            raise RuntimeError(f"the script printed no speed: {done.stderr.strip()[-200:]}")
        return {"steps_per_second": float(speeds[-1])}

    return run
