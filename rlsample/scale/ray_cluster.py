"""A Ray cluster: joined, or started on this machine for as long as it is needed. Nothing is reported to anybody."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import Any

from rlsample.scale.engine import RunnerFault

LOOPBACK = "127.0.0.1"

# Read by Ray when it is imported. The second one is named for other systems, but is what lets a cluster of this machine
# alone have this machine's own address, so that it listens to nobody else. The third one lets runners have their share
# of a busy machine: Ray would give them the niceness 15, with which all else comes first.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}


class RayCluster:
    """A cluster to be used: joined where there is an address, else started here, and stopped by `close`.

    Args:
        address: as of `ScaleConfig`.
        seconds: how long it may take.
        cpus: what a cluster that is started counts as its CPUs.

    Attributes:
        ray: the module.

    Raises:
        RunnerFault: it did not answer, or did not start.

    Examples:
        >>> from rlsample.scale.ray_cluster import RayCluster
        >>> cluster = RayCluster(address=None, seconds=60, cpus=2)
        >>> cluster.ray.cluster_resources()["CPU"]
        2.0
        >>> cluster.close()
    """

    def __init__(self, address: str | None, seconds: float, cpus: float) -> None:
        os.environ.update(QUIET if address else QUIET | ALONE)
        logging.getLogger("ray").setLevel(logging.ERROR)
        import ray

        self.ray: Any = ray
        self._closed = threading.Event()
        self._own = not ray.is_initialized()
        if not self._own:
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address is None:
            options |= {"num_cpus": cpus, "include_dashboard": False, "_node_ip_address": LOOPBACK}
        else:
            options["address"] = address
        errors: list[BaseException] = []
        answered = threading.Event()

        def connect() -> None:
            try:
                ray.init(**options)
            except BaseException as error:  # Told by the thread that waits.
                errors.append(error)
            answered.set()
            self._closed.wait()

        # In a thread: it has no time limit of its own, and in the main one it would take SIGTERM away from the run. The
        # thread stays, for the processes of a cluster end with the thread that started them.
        threading.Thread(target=connect, name="ray.init", daemon=True).start()
        if not answered.wait(seconds) or errors:
            what = f"{type(errors[0]).__name__}: {errors[0]}" if errors else f"nothing in {seconds:g} s"
            where = f"at scale.address={address}" if address else "on this machine"
            hint = "scale.connect_seconds says how long to wait."
            raise RunnerFault(f"Expected a Ray cluster {where}. Received: {what}. {hint}")
        _hear_again(signal.SIGTERM)

    def close(self) -> None:
        """Stops what was started, leaves what was joined."""
        if self._own and self.ray.is_initialized():
            self.ray.shutdown()
        self._closed.set()


def _hear_again(number: signal.Signals) -> None:
    """Gives a signal back to its handler in Python.

    Ray's core puts one of its own before it, which lets the process live for three seconds: not long enough for a run
    to save what it learned.
    """
    handler = signal.getsignal(number)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(number, handler)
