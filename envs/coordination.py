"""Coordination: everybody picks an action once, and all are paid for the combination."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from rlsample import checks
from rlsample.in_graph import raster
from rlsample.in_graph.several_agents import AgentSpaces, SeveralAgentsEnv

CLIMBING = ((11.0, -30.0, 0.0), (-30.0, 7.0, 6.0), (0.0, 0.0, 5.0))


class Coordination(SeveralAgentsEnv):
    """A matrix game of several agents with one payoff for all: the joint optimum and every gradient are known.

    ## Description
    Each agent picks one of its actions, once, without seeing anything. The payoff of the combination is everybody's.
    In the default, the climbing game, the best combination stands beside the worst ones: who explores alone is
    punished.

    ## Action Space
    A `Dict` of one `Discrete` per agent, `agent_0`, `agent_1`, ..., whose sizes are the sides of the payoffs. Relaxed
    actions are paid the mix of the payoffs, linear in each agent's weights.

    ## Observation Space
    `Box` of shape (agents, 2): (1, 0) before and (0, 1) after the game was played. The state is whether it was.

    ## Starting State
    Not played.

    ## Rewards
    The payoff, shared.

    ## Episode End
    Terminated after one step.

    ## Information
    Empty; all actions are always legal. In the graph, `optimum`, `expected_reward` and `exact_gradient` are known.

    ## Arguments
    `payoffs`: an array with one axis per agent, of any sides, as nested sequences; default the climbing game. `dtype`.

    ## References
    Claus and Boutilier (1998), The dynamics of reinforcement learning in cooperative multiagent systems.

    ## Version History
    v0: first version.

    Examples:
        >>> from envs.coordination import Coordination
        >>> env = Coordination()
        >>> step = env.step(env.initial((0, 1), num_envs=2), tf.constant([[0, 0], [0, 1]]), (0, 2))
        >>> step.reward.numpy(), float(env.optimum)
        (array([ 11., -30.], dtype=float32), 11.0)
    """

    max_episode_steps = 1

    def __init__(self, payoffs: Sequence[Any] = CLIMBING, dtype: str = "float32"):
        """See the class."""
        try:
            self.payoffs = np.array(payoffs, dtype)
        except ValueError:
            raise checks.invalid("payoffs of one shape, an axis for each agent", payoffs=payoffs) from None
        if not 0 < self.payoffs.ndim <= 10 or self.payoffs.size == 0 or not np.isfinite(self.payoffs).all():
            raise checks.invalid("finite payoffs, with an axis for each of 1 to 10 agents", payoffs=payoffs)
        sides = enumerate(self.payoffs.shape)
        super().__init__({f"agent_{index}": AgentSpaces(side, 2) for index, side in sides}, dtype)

    @property
    def optimum(self) -> float:
        """The greatest payoff."""
        return float(self.payoffs.max())

    def initial(self, seed: tf.Tensor, num_envs: int = 1) -> tf.Tensor:
        """Returns False, not played: bool `[B]`."""
        return tf.zeros([num_envs], tf.bool)

    def transition(self, state: tf.Tensor, action: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns True, played: bool `[B]`."""
        return tf.ones_like(state)

    def observation(self, state: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns whether the game is still to be played, and whether it was: float `[B, N, 2]`."""
        seen = tf.one_hot(tf.cast(state, tf.int32), 2, dtype=self.dtype)
        return tf.repeat(seen[:, tf.newaxis], len(self.agents), axis=1)

    def reward(
        self, state: tf.Tensor, action: tf.Tensor, next_state: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the payoff: float `[B]`."""
        return self._mix(self._weights(self.agent_weights(action)))

    def terminal(self, state: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Returns whether the game has been played: bool `[B]`."""
        return state

    def expected_reward(self, logits: tf.Tensor) -> tf.Tensor:
        """Returns the expected payoff when everybody draws from softmax(logits): `[B, N, K]` to `[B]`.

        What stands on the padding of agents with fewer than K actions is ignored.
        """
        return self._mix([tf.nn.softmax(each) for each in self._weights(logits)])

    def exact_gradient(self, logits: tf.Tensor) -> tf.Tensor:
        """Returns the gradient of `expected_reward`: `[B, N, K]` to `[B, N, K]`.

        p_i * (m_i - <p_i, m_i>),  m_i the mean payoff of each action of agent i over what the others draw
        """
        probs = [tf.nn.softmax(each) for each in self._weights(logits)]
        rows = []
        for index, own in enumerate(probs):
            mean = self._mix(probs, without=index)
            row = own * (mean - tf.reduce_sum(own * mean, -1, keepdims=True))
            rows.append(tf.pad(row, [[0, 0], [0, logits.shape[-1] - row.shape[-1]]]))
        return tf.stack(rows, 1)

    def render_image(self, state: np.ndarray, render_state: Any = None) -> tuple[Any, np.ndarray]:
        """Draws the payoffs, scaled to [0, 1], as shades, green once played: uint8 `[32 * rows, 32 * columns, 3]`."""
        table = self.payoffs.reshape(self.payoffs.shape[0], -1)
        spread = max(float(np.ptp(table)), 1e-12)
        colour = raster.GREEN if state else raster.BLUE
        return render_state, raster.cells(raster.shades((table - table.min()) / spread, colour))

    def _weights(self, joint: tf.Tensor) -> list[tf.Tensor]:
        """`[B, N, K]` -> for each agent `[B, K_i]`."""
        return [joint[:, index, :side] for index, side in enumerate(self.payoffs.shape)]

    def _mix(self, weights: list[tf.Tensor], without: int | None = None) -> tf.Tensor:
        """The payoffs, mixed along the axis of each agent (but one): `[B]`, or `[B, K_i]`."""
        axes = string.ascii_lowercase[: len(weights)]
        # The one left out is mixed with ones along no axis of its own, so that the batch axis is there in any case.
        others = [tf.ones_like(each[:, 0]) if index == without else each for index, each in enumerate(weights)]
        names = ["Z" if index == without else f"Z{axis}" for index, axis in enumerate(axes)]
        kept = "" if without is None else axes[without]
        payoffs = tf.cast(self.payoffs, weights[0].dtype)
        return tf.einsum(f"{axes},{','.join(names)}->Z{kept}", payoffs, *others)
