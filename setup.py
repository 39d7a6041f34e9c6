"""What the wheel holds: the library, and below it the folders beside it, whose own names are left to others."""

from setuptools import find_packages, setup

BELOW = ["agents", "envs", "scripts"]
IN_A_CLONE_ALONE = ["agents.snippets", "scripts.benchmark", "scripts.package", "scripts.site"]

beside = find_packages(include=[*BELOW, *(f"{folder}.*" for folder in BELOW)], exclude=IN_A_CLONE_ALONE)
setup(
    packages=[*find_packages(include=["rlsample", "rlsample.*"]), *(f"rlsample.{name}" for name in beside)],
    package_dir={f"rlsample.{folder}": folder for folder in BELOW},
)
