"""What a build adds to pyproject.toml: the default model, and a README whose links are absolute."""

import ast
import re
import shutil
import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
STORE = "srnn_tf/zoo/store.py"
EMBEDDED = "srnn_tf/zoo/embedded"


def default() -> str:
    """The name in `DEFAULT` of the store, read and not imported: nothing is installed here."""
    for node in ast.parse((HERE / STORE).read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DEFAULT":
            return ast.literal_eval(node.value)
    raise ValueError(f"{STORE} has no DEFAULT")


class BuildWithModel(build_py):
    """Copies the newest version of the default model from saved_models."""

    def _model(self) -> dict[Path, Path]:
        """The files to copy: from each one of the checkout to its place in the package."""
        folder = HERE / "saved_models" / default()
        versions = sorted(int(p.name) for p in folder.glob("*") if p.name.isdecimal())
        if not versions:
            raise FileNotFoundError(f"{folder} is missing: the wheel embeds the model {default()}")
        newest = folder / str(versions[-1])
        target = Path(EMBEDDED, folder.name, newest.name)
        files = sorted(p for p in newest.rglob("*") if p.is_file())
        return {path: target / path.relative_to(newest) for path in files}

    def run(self):
        super().run()
        shutil.rmtree(Path(self.build_lib, EMBEDDED), ignore_errors=True)  # of an earlier default
        if not self.editable_mode:  # where the package finds saved_models itself
            for source, target in self._model().items():
                place = Path(self.build_lib) / target
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, place)

    def get_source_files(self):
        """What a source distribution has, so that a wheel can be built from it."""
        return [*super().get_source_files(), *(str(p.relative_to(HERE)) for p in self._model())]

    def get_outputs(self, include_bytecode=True):
        own = [] if self.editable_mode else self._model().values()
        lib = Path(self.build_lib)
        return [*super().get_outputs(include_bytecode), *(str(lib / target) for target in own)]


def readme() -> str:
    """README.md for a page elsewhere: what is relative to the repository becomes an address."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text("utf-8"))["project"]
    repository = project["urls"]["Repository"]

    def absolute(match: re.Match) -> str:
        image, text, target = match.groups()
        return f"{image}[{text}]({repository}/{'raw' if image else 'blob'}/main/{target})"

    text = (HERE / "README.md").read_text("utf-8")
    return re.sub(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)]+)\)", absolute, text)


if __name__ == "__main__":
    setup(
        cmdclass={"build_py": BuildWithModel},
        long_description=readme(),
        long_description_content_type="text/markdown",
    )
