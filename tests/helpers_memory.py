"""What any loop has to show whose policy remembers."""

import numpy as np


def check_resumed_memory(halted, resumed, goes_on):
    """A loop that takes up another after its first turn remembers what that did, if its episodes go on; and trains."""
    halted.advance()
    assert resumed.restore(halted.snapshot()) == 1
    before, after = (loop.learner.memory(loop.state).numpy() for loop in (halted, resumed))
    assert before.any()
    np.testing.assert_array_equal(after, before if goes_on else np.zeros_like(before))
    assert np.isfinite(resumed.advance()["losses/policy"])
