"""Speaker and listener: one knows, the other acts, and a discrete message is all there is between them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.in_graph import raster
from rlsample.in_graph.environment import draw_index
from rlsample.in_graph.several_agents import AgentSpaces, SeveralAgentsEnv


class Conversation(NamedTuple):
    """What is going on.

    Attributes:
        target: float `[B, targets]`, one-hot.
        heard: float `[B, messages + 1]`, the word that was just said, one-hot; the last entry is silence.
        time: int32 `[B]`, steps taken.

    Examples:
        >>> from envs.speaker_listener import SpeakerListener
        >>> state = SpeakerListener(targets=4).initial((0, 1), num_envs=2)
        >>> print(state.heard.numpy()[0], state.time.numpy())  # silence
        [0. 0. 0. 0. 1.] [0 0]
    """

    target: tf.Tensor
    heard: tf.Tensor
    time: tf.Tensor


class SpeakerListener(SeveralAgentsEnv):
    """A signalling game whose gradient goes through the message: what the listener loses reaches the speaker.

    ## Description
    The speaker sees a target and says one of M words. In the next step the listener, who sees the word and nothing
    else, picks a target. Words mean nothing beforehand: the two have to agree. With a delay the listener picks so many
    steps later, in which nothing is heard: only a listener who remembers then knows the word.

    ## Action Space
    `Dict(speaker_0=Discrete(messages), listener_0=Discrete(targets))`. Both act in each step; what the listener picks
    before the last, and what the speaker says after the first, does nothing. A relaxed message is heard as the mix that
    it is, and a relaxed choice is paid by the weight of the target.

    ## Observation Space
    `Box` of shape (2, max(targets, messages + 1)): the target for the speaker, and the word heard, or silence as the
    entry after the words, for the listener; one-hots, padded with zeros. The state is both, and the time.

    ## Starting State
    A target drawn uniformly, and silence.

    ## Rewards
    In the last step 1 for the target, 0 for any other; shared. At best min(messages, targets) / targets on average.

    ## Episode End
    Terminated after the second step, or as many later as the delay is.

    ## Information
    Empty; all actions are always legal. In the graph, `optimum`, `expected_reward` and `exact_gradient` are known.

    ## Arguments
    `targets` (4); `messages` (as many as targets); `delay` (0): steps between hearing and choosing, below 99; `dtype`.

    ## References
    Lewis (1969), Convention. Lowe et al. (2017), arXiv 1706.02275, whose cooperative communication task it abstracts.

    ## Version History
    v0: first version.

    Examples:
        >>> from envs.speaker_listener import SpeakerListener
        >>> env = SpeakerListener(targets=4, messages=2)
        >>> env.optimum, env.action_space
        (0.5, Dict('speaker_0': Discrete(2), 'listener_0': Discrete(4)))
    """

    max_episode_steps = 100

    def __init__(self, targets: int = 4, messages: int | None = None, delay: int = 0, dtype: str = "float32"):
        """See the class."""
        self.targets = checks.check_count("targets", targets)
        self.messages = self.targets if messages is None else checks.check_count("messages", messages)
        self.delay = checks.check_count("delay", delay, minimum=0)
        if delay + 2 > self.max_episode_steps:
            raise checks.invalid(f"a delay of at most {self.max_episode_steps - 2}, within the time limit", delay=delay)
        speaker, listener = AgentSpaces(self.messages, self.targets), AgentSpaces(self.targets, self.messages + 1)
        super().__init__({"speaker_0": speaker, "listener_0": listener}, dtype)

    @property
    def optimum(self) -> float:
        """The greatest mean return: that of a code in which no word is wasted."""
        return min(self.messages, self.targets) / self.targets

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> Conversation:
        """Draws targets."""
        target = tf.one_hot(draw_index(self.targets, [num_envs], seed), self.targets, dtype=self.dtype)
        silence = tf.one_hot(tf.fill([num_envs], self.messages), self.messages + 1, dtype=self.dtype)
        return Conversation(target, silence, tf.zeros([num_envs], tf.int32))

    def transition(self, state: Conversation, action: tf.Tensor, seed: tf.Tensor | None = None) -> Conversation:
        """Lets the word be heard that is said in the first step; then all is silent."""
        said = tf.pad(self.agent_weights(action)[:, 0, : self.messages], [[0, 0], [0, 1]])
        silence = tf.one_hot(self.messages, self.messages + 1, dtype=self.dtype)
        return Conversation(state.target, tf.where(state.time[:, tf.newaxis] == 0, said, silence), state.time + 1)

    def observation(self, state: Conversation, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns what each sees: float `[B, 2, D]`."""
        return self.side_by_side({"speaker_0": state.target, "listener_0": state.heard})

    def reward(
        self, state: Conversation, action: tf.Tensor, next_state: Conversation, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the weight of the target in the listener's choice, in the last step: float `[B]`."""
        choice = self.agent_weights(action)[:, 1, : self.targets]
        right = tf.reduce_sum(choice * state.target, -1)
        return tf.where(state.time == self.delay + 1, right, tf.zeros_like(right))

    def terminal(self, state: Conversation, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns whether the choice is made: bool `[B]`."""
        return state.time > self.delay + 1

    def expected_reward(self, speaker: tf.Tensor, listener: tf.Tensor) -> tf.Tensor:
        """Returns the expected return when both draw from softmax of their logits: a scalar.

            1 / targets sum_k sum_m p(m | k) q(k | m)

        Args:
            speaker: float `[targets, messages]`, a row for each target.
            listener: float `[messages, targets]`, a row for each word.
        """
        words, choices = tf.nn.softmax(speaker), tf.nn.softmax(listener)
        return tf.reduce_sum(words * tf.transpose(choices)) / self.targets

    def exact_gradient(self, speaker: tf.Tensor, listener: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the gradients of `expected_reward`, of the shapes of its arguments.

        p(m | k) (q(k | m) - sum_n p(n | k) q(k | n)) / targets, and the same with the parts exchanged
        """
        words, choices = tf.nn.softmax(speaker), tf.nn.softmax(listener)

        def gradient(own: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
            return own * (other - tf.reduce_sum(own * other, -1, keepdims=True)) / self.targets

        return gradient(words, tf.transpose(choices)), gradient(choices, tf.transpose(words))

    def render_image(self, state: Conversation, render_state: Any = None) -> tuple[Any, np.ndarray]:
        """Draws the target above what was heard: uint8 `[64, 32 * D, 3]`."""
        width = self.observation_space.shape[1]
        rows = [np.pad(np.asarray(row), (0, width - len(row))) for row in (state.target, state.heard)]
        return render_state, raster.cells(np.stack([raster.shades(rows[0]), raster.shades(rows[1], raster.GREEN)]))
