"""What else an agent sees of an environment, or what less: wrappers that a configuration names.

Each has two faces of one name and the same options: a `gymnasium.Wrapper` for environments that Python steps, and one
for environments written in TensorFlow, which stay in the compiled program. `FrameStackObservation` is Gymnasium's own.
"""

from rlsample.wrappers.in_graph import IN_GRAPH, InGraphWrappers
from rlsample.wrappers.previous_action_and_reward import PreviousActionAndReward
from rlsample.wrappers.select_entries import SelectEntries

__all__ = ["IN_GRAPH", "InGraphWrappers", "PreviousActionAndReward", "SelectEntries"]
