"""A contestant of the benchmark that takes as long as it is told."""

import time


def prepare(seconds, fail=False):
    if fail:
        raise ValueError("unwilling")
    print("this must not pass for an answer")

    def run():
        time.sleep(seconds)
        return {"steps": 10}

    return run
