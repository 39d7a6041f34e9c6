"""Every metric that is logged, with what it means. Names are stable: sweeps and pictures rely on them.

Where Python steps the environments, the relaxed actor-critic measures `sampler/*` in every round of updates, on one
minibatch; compiled loops, and those that learn from rollouts, do so in every fourth turn, where the environments are by
then. The gradient is measured where `agent.audit_draws` is set: against the critic, which the short-horizon agent looks
at through one step of the environment. PPO has no gradient through actions, so no `sampler/gradient_*`;
`sampler/one_hot_gap` and `sampler/relaxed_entropy` are there for samplers that differentiate relaxed samples.
"""

from __future__ import annotations

import fnmatch

MEAN_RETURN = "evaluation/mean_return"
"""By which runs are judged, and records of evaluations are told from others."""

METRICS = {
    "global_step": "Environment steps so far, over all environments (of one member, in a population).",
    "update": "Optimizer steps so far.",
    "charts/episodes": "Training episodes that ended since the last record.",
    "charts/episodic_return": "Their mean undiscounted return.",
    "charts/episodic_length": "Their mean length, in steps.",
    "charts/unfinished_length": "Steps so far of the longest episode under way, which counts in no return yet.",
    "charts/steps_per_second": "Environment steps per second of wall-clock time since the run began.",
    MEAN_RETURN: "Mean return of the evaluation episodes.",
    "evaluation/std_return": "Their standard deviation, over episodes.",
    "losses/policy": "PPO's clipped surrogate, REINFORCE's weighted cross-entropy: mean since the last record.",
    "losses/value": "Half the squared error of predicted values, DQN's Huber's loss; 0 without a baseline.",
    "losses/actor": "The actor's loss: the negative of the value it climbs, entropy bonus included.",
    "losses/critic": "The critic's squared error; of several critics the sum.",
    "losses/model": "Of a world model, on rows it learns from: squared errors, and cross-entropy of the end.",
    "losses/held_out": "The same on rows that no member learns from, for the weights that imagine.",
    "policy/entropy": "Entropy of the policy in nats, mean over the rows learned from.",
    "policy/approximate_kl": "How far PPO's policy has moved from the one that collected, in nats.",
    "policy/clip_fraction": "Share of rows whose probability ratio lies outside of PPO's clip range.",
    "policy/gradient_norm": "Norm of the actor's gradient before it is shortened.",
    "policy/value": "Predicted value of the actions replayed, mean over the latest minibatch of DQN.",
    "policy/epsilon": "Probability of a random action of DQN.",
    "policy/coefficient": "Coefficient of the entropy bonus, fixed or learned.",
    "sampler/temperature": "Temperature of the sampler in the latest updates.",
    "sampler/one_hot_gap": "How far relaxed samples are from their one-hots: mean of 1 - their largest entry.",
    "sampler/relaxed_entropy": "Mean entropy of the relaxed samples over the largest there is: 0 one-hot, 1 uniform.",
    "sampler/gradient_snr": "Of the sampler's gradient, against the present critics: |mean| / standard deviation.",
    "sampler/gradient_cosine": "Between the mean of the sampler's gradient and the exact one.",
    "sampler/gradient_bias": "Distance of the mean of the sampler's gradient from the exact one, over all logits.",
    "sampler/gradient_relative_bias": "The same over the length of the exact gradient.",
    "sampler/gradient_variance": "Of the sampler's gradient: mean squared distance of an estimate from their mean.",
    "sampler/gradient_relative_variance": "The same over the squared length of the exact gradient.",
    "sampler/gradient_mean_squared_error": "Mean squared distance of an estimate of the gradient from the exact one.",
    "sampler/gradient_relative_mean_squared_error": "The same over the squared length of the exact gradient.",
    "agents/return/*": "Of several agents: the mean return of each in those episodes, by its name.",
    "agents/temperature/*": "Of several agents: the temperature of each one's sampler, by its name.",
    "scale/lag_min": "With runners: how many turns of learning older than the newest policy the one that collected is.",
    "scale/lag_mean": "Likewise, the mean over the fragments since the last record.",
    "scale/lag_max": "Likewise, the largest.",
    "scale/restarts": "Runners that were lost and replaced since the run began, or was resumed.",
    "scale/fragments_dropped": "Fragments since then that nothing was learned from: of a runner lost, or too old.",
    "scale/bytes_per_second": "Weights sent to runners and steps received from them.",
    "scale/waiting": "Share of the time that the learner waits for runners.",
    "members/return_*": "In a population: mean return of the latest episodes of each member, numbered from 00.",
}
"""Name -> meaning; `*` stands for a number or a name."""


def meaning_of(name: str) -> str | None:
    """What a logged metric means; None if it is not in the table."""
    return METRICS.get(name) or next((text for key, text in METRICS.items() if fnmatch.fnmatchcase(name, key)), None)
