"""The one thing pyproject.toml cannot say: `data/`, at the top of a checkout, travels in the wheel as `dlmlab/data`.

An editable install copies nothing: there, `dlmlab/paths.py` finds the folder of the checkout.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithData(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:
            self.copy_tree("data", str(Path(self.build_lib, "dlmlab", "data")))


setup(cmdclass={"build_py": BuildWithData})
