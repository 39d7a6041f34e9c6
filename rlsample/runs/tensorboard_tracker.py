"""Metrics for TensorBoard: `tensorboard --logdir runs` shows every run folder below."""

from __future__ import annotations

import time
from pathlib import Path

from rlsample.runs.tracking import Record


class TensorBoard:
    """Writes each record to event files, one scalar a metric, flushed at once; the step is `global_step`.

    Needs the extra `tensorboard`.

    Args:
        folder: of the event files; made if absent.
        step: environment steps that the run begins after. What earlier files say of later ones is not shown again.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._writer = EventFileWriter(str(folder))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._writer.add_event(event_pb2.Event(wall_time=time.time(), step=step + 1, session_log=start))

    def log(self, record: Record) -> None:
        """Writes the record as float32 scalars."""
        metrics = ((name, value) for name, value in record.items() if name != "global_step")
        scalars = self._summary(value=[self._summary.Value(tag=name, simple_value=value) for name, value in metrics])
        event = self._event(wall_time=time.time(), step=int(record["global_step"]), summary=scalars)
        self._writer.add_event(event)
        self._writer.flush()

    def close(self, failed: bool = False) -> None:
        """Closes the file."""
        self._writer.close()
