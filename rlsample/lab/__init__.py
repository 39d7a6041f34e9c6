"""The laboratory: the exact gradient by enumeration, and how far a sampler's gradients are from it.

    report = lab.audit("reinmax", objective, logits, temperature=1.0, num_draws=100_000)
    report.bias, report.bias_standard_error, report.variance, report.cosine
    report.relative_bias, report.relative_variance    # to the length of the exact gradient, and to its square

`audit` is for experiments: one policy, many draws, numbers with standard errors. `online` is for a training loop: few
draws for every row of a batch, in the graph, compiled with the update. `relaxation` says how far relaxed samples are
from their one-hots.
"""

from rlsample.lab.audits import Audit, audit
from rlsample.lab.gradients import exact_gradient, sample_gradients
from rlsample.lab.in_graph import OnlineAudit, online
from rlsample.lab.relaxation import Relaxation, relaxation

__all__ = [
    "Audit",
    "OnlineAudit",
    "Relaxation",
    "audit",
    "exact_gradient",
    "online",
    "relaxation",
    "sample_gradients",
]
