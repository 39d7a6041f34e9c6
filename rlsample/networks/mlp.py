"""Multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Sequence

import keras


def mlp(
    inputs: int, hidden_sizes: Sequence[int], outputs: int | None = None, *, activation: str = "relu", gain: float = 1.0
) -> keras.Sequential:
    """A multilayer perceptron with orthogonal kernels and zero biases.

    Args:
        inputs: number of features.
        hidden_sizes: width of each hidden layer.
        outputs: width of a last, linear layer; None leaves it out.
        activation: of the hidden layers.
        gain: of the last layer's kernel (the hidden ones have sqrt(2)).

    Returns:
        A built model, `[B, inputs]` -> `[B, outputs]` (or the last hidden width).
    """
    layers = [
        keras.layers.Dense(size, activation, kernel_initializer=keras.initializers.Orthogonal(2**0.5))
        for size in hidden_sizes
    ]
    if outputs is not None:
        layers.append(keras.layers.Dense(outputs, kernel_initializer=keras.initializers.Orthogonal(gain)))
    return keras.Sequential([keras.layers.Input((inputs,)), *layers])
