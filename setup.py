"""How the native library is built: by the C compiler alone, into a wheel that every Python 3 of the platform can load.

All else about the package stands in ``pyproject.toml``. ``CC`` names another compiler, ``CFLAGS`` adds to its flags.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

FLAGS = ["-std=c11", "-O3", "-Wall", "-Wextra", "-fvisibility=hidden", "-fPIC", "-shared", "-pthread"]


class BuildLibrary(build_ext):
    """A shared library instead of a module: no header of Python, and none of its names in the file's."""

    def build_extension(self, extension: Extension) -> None:
        target = Path(self.get_ext_fullpath(extension.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        compiler = shlex.split(os.environ.get("CC", "cc")) + FLAGS + shlex.split(os.environ.get("CFLAGS", ""))
        subprocess.run([*compiler, *extension.sources, "-o", str(target)], check=True)  # noqa: S603  # whoever builds names the compiler

    def get_ext_filename(self, name: str) -> str:
        return name.replace(".", "/") + ".so"


class Wheel(bdist_wheel):
    """Bound to the platform, to no version of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[
        Extension("penstock.pipeline._native", sorted(glob("native/*.c")), depends=sorted(glob("native/*.h")))
    ],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": Wheel},
)
