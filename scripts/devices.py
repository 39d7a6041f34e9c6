"""Prints what TensorFlow computes on, one device a line.

    python -m scripts.devices

In a process of its own, for `doctor`: a TensorFlow that does not fit the machine may end the process it is loaded in.
"""

from __future__ import annotations


def main() -> None:
    """Prints them."""
    import tensorflow as tf

    for device in tf.config.list_physical_devices():
        details = tf.config.experimental.get_device_details(device)
        words = [device.name.removeprefix("/physical_device:"), details.get("device_name", "")]
        print(" ".join(filter(None, words)))


if __name__ == "__main__":
    main()
