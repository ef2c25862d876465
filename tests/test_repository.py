"""What is around the code: metadata that parse, packages that are whole, files that are small."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

import srnn_tf

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LARGE_FILES = runpy.run_path(str(ROOT / ".ci" / "large_files.py"))


@pytest.fixture
def yaml():
    return pytest.importorskip("yaml")


def test_the_citation_names_the_version_the_licence_and_the_paper(yaml):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == srnn_tf.__version__ == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["authors"] == [{"name": "the srnn_tf authors"}]
    (paper,) = citation["references"]
    assert [a["family-names"] for a in paper["authors"]] == ["Lai", "Dai", "Yang", "Yoo"]
    assert paper["identifiers"][0]["value"] == "arXiv:1902.01388"


def test_hooks_are_local_and_use_the_tools_of_the_environment(yaml):
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    hooks = repos[0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert {"ruff-check", "ruff-format", "codespell", "large-files"} == {h["id"] for h in hooks}


def test_types_are_package_data():
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["srnn_tf"]
    assert (Path(srnn_tf.__file__).parent / "py.typed").is_file()


def test_the_changelog_begins_with_what_is_not_released():
    titles = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert titles[0] == "Unreleased" and srnn_tf.__version__ in titles


def test_lint_checks_style_spelling_and_types():
    lint = (ROOT / "Makefile").read_text().split("\nlint:")[1].split("\n\n")[0]
    assert all(f"$(BIN)/{tool}" in lint for tool in ("ruff check", "codespell", "ty check"))


def test_templates_have_what_is_asked_for():
    templates = ROOT / ".github"
    for name in ("bug_report", "feature_request"):
        assert (templates / "ISSUE_TEMPLATE" / f"{name}.md").read_text().startswith("---\nname: ")
    assert "make test" in (templates / "pull_request_template.md").read_text()


def test_no_file_outside_of_saved_models_is_large():
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    assert LARGE_FILES["large_files"]() == []


def test_a_large_file_is_found(tmp_path):
    run = LARGE_FILES["subprocess"].run
    run(["git", "init", "-q", tmp_path], check=True)
    for name, size in (("a b.bin", LARGE_FILES["MOST"] + 1), ("small.bin", LARGE_FILES["MOST"])):
        (tmp_path / name).write_bytes(bytes(size))
    (tmp_path / "saved_models").mkdir()
    (tmp_path / "saved_models" / "w.bin").write_bytes(bytes(LARGE_FILES["MOST"] + 1))
    run(["git", "add", "."], cwd=tmp_path, check=True)
    assert LARGE_FILES["large_files"](tmp_path) == [f"a b.bin: {LARGE_FILES['MOST'] + 1}"]


def test_links_of_the_description_are_absolute_and_lead_to_files_of_the_repository():
    readme = runpy.run_path(str(ROOT / "setup.py"))["readme"]()
    repository = PROJECT["project"]["urls"]["Repository"]
    links = re.findall(r"\]\(([^)]+)\)", readme)
    ours = [link for link in links if link.startswith(repository)]
    assert len(ours) > 20 and all(link.startswith(("https://", "#")) for link in links)
    for link in ours:
        place = link.removeprefix(repository).split("#")[0].split("/", 3)
        assert place[1] in ("raw", "blob") and (ROOT / place[3]).exists(), link


def test_ci_tries_the_wheels_after_the_tests():
    assert (ROOT / ".ci" / "run").read_text().split()[-5:] == "make test exec make smoke".split()
