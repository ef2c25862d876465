"""What a build adds to pyproject.toml: models, and a README whose links are absolute."""

import ast
import re
import shutil
import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
STORE = "srnn_tf/zoo/store.py"
FOLDER = "srnn_tf/zoo/embedded"


def embedded() -> tuple[str, ...]:
    """The names in `EMBEDDED` of the store, read and not imported: nothing is installed here."""
    for node in ast.parse((HERE / STORE).read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EMBEDDED":
            return ast.literal_eval(node.value)
    raise ValueError(f"{STORE} has no EMBEDDED")


class BuildWithModels(build_py):
    """Copies the newest version of each embedded model from saved_models."""

    def _models(self) -> dict[Path, Path]:
        """The files to copy: from each one of the checkout to its place in the package."""
        places = {}
        for name in embedded():
            folder = HERE / "saved_models" / name
            versions = sorted(int(p.name) for p in folder.glob("*") if p.name.isdecimal())
            if not versions:
                raise FileNotFoundError(f"{folder} is missing: the wheel embeds the model {name}")
            newest = folder / str(versions[-1])
            target = Path(FOLDER, name, newest.name)
            files = sorted(p for p in newest.rglob("*") if p.is_file())
            places |= {path: target / path.relative_to(newest) for path in files}
        return places

    def run(self):
        super().run()
        shutil.rmtree(Path(self.build_lib, FOLDER), ignore_errors=True)  # of earlier ones
        if not self.editable_mode:  # where the package finds saved_models itself
            for source, target in self._models().items():
                place = Path(self.build_lib) / target
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, place)

    def get_source_files(self):
        """What a source distribution has, so that a wheel can be built from it."""
        return [*super().get_source_files(), *(str(p.relative_to(HERE)) for p in self._models())]

    def get_outputs(self, include_bytecode=True):
        own = [] if self.editable_mode else self._models().values()
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
        cmdclass={"build_py": BuildWithModels},
        long_description=readme(),
        long_description_content_type="text/markdown",
    )
