"""Every error the library raises about its input is worded here: the rule, the value, the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlsample import lazy
from rlsample.checks.wording import check_count, check_positive, invalid, unknown

__all__ = [
    "check_action",
    "check_count",
    "check_logits",
    "check_mask",
    "check_positive",
    "check_seed",
    "check_temperature",
    "invalid",
    "raise_for_unusable",
    "static_value",
    "told_on_the_host",
    "unknown",
    "usable_rows",
]

if TYPE_CHECKING:
    from rlsample.checks.tensors import (
        check_action,
        check_logits,
        check_mask,
        check_seed,
        check_temperature,
        raise_for_unusable,
        static_value,
        told_on_the_host,
        usable_rows,
    )
else:
    # Loaded on first use, for it loads TensorFlow, and a wrong word on a command line is told without.
    __getattr__, __dir__ = lazy.attach(
        __name__,
        {
            "tensors": [
                "check_action",
                "check_logits",
                "check_mask",
                "check_seed",
                "check_temperature",
                "raise_for_unusable",
                "static_value",
                "told_on_the_host",
                "usable_rows",
            ]
        },
    )
