"""Generated pages of the site: the reference of the command line, the pages beside the README."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType
from typing import Any

import pytest

import featx
from featx_cli.app import make_command
from tests.docs.blocks import ROOT


def hook(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/hooks/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    """Title -> text of each section of the reference of the command line."""
    page = hook("command_line").commands_page()
    return dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))


class TestCommandLine:
    def test_every_command_has_a_section_with_each_of_its_options(
        self, sections: dict[str, str]
    ) -> None:
        commands: list[tuple[str, Any]] = [("featx", make_command())]
        seen = set()
        for words, command in commands:
            below = getattr(command, "commands", {})
            commands += [(f"{words} {name}", c) for name, c in below.items()]
            if below and words != "featx":
                continue
            seen.add(words)
            rows = [line for line in sections[words].splitlines() if line.startswith("| `")]
            assert len(rows) == len(command.params), words
            for parameter, row in zip(command.params, rows, strict=True):
                for name in (*parameter.opts, *parameter.secondary_opts):
                    assert (name if name.startswith("-") else parameter.metavar) in row
                assert " ".join(parameter.help.split())[:20].split("`")[0].split("|")[0] in row
        assert seen == set(sections)

    def test_a_default_and_a_choice_are_told(self, sections: dict[str, str]) -> None:
        (row,) = [r for r in sections["featx extract"].splitlines() if "--compression" in r]
        assert r"none\|lzf\|gzip" in row
        assert row.endswith("| `gzip` |")

    def test_no_row_has_more_columns_than_the_table(self, sections: dict[str, str]) -> None:
        for text in sections.values():
            for row in (line for line in text.splitlines() if line.startswith("|")):
                assert len(re.findall(r"(?<!\\)\|", row)) == 4, row

    def test_the_page_asks_for_it(self) -> None:
        module = hook("command_line")
        assert module.PLACE in (ROOT / "docs" / module.PAGE).read_text(encoding="utf-8")


class TestPagesBesideTheReadme:
    def test_links_start_where_the_page_is_shown(self) -> None:
        as_page = hook("root_pages").as_page
        text = "[a](docs/data.md) [b](CHANGELOG.md) [c](docs/images/x.png)"
        assert as_page(text) == "[a](data.md) [b](changelog.md) [c](images/x.png)"

    def test_they_are_there(self) -> None:
        for source in hook("root_pages").PAGES.values():
            assert (ROOT / source).read_text(encoding="utf-8").startswith("# ")


def test_every_room_has_its_page_of_the_python_reference() -> None:
    """A page shows what `__all__` of the room lists."""
    for package in sorted((ROOT / "featx").glob("*/__init__.py")):
        room = package.parent.name
        page = (ROOT / f"docs/reference/api/{room}.md").read_text(encoding="utf-8")
        assert f"::: featx.{room}\n" in page


def test_every_name_of_featx_is_in_the_table_of_contents() -> None:
    text = (ROOT / "docs/reference/api/index.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", text.split("The whole job")[0]))
    public = {name for name in dir(featx) if not name.startswith("_")}
    assert public <= named | {"Manifest", "Run"}


def test_the_citation_has_the_version_of_the_package() -> None:
    import tomllib

    import yaml

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]


def test_bars_in_the_code_of_tables_are_shown_without_the_escape_that_github_wants() -> None:
    shown = hook("tables").on_page_markdown
    assert (
        shown("| `a\\|b` | c\\|d |\nnot a row: `a\\|b`") == "| `a|b` | c\\|d |\nnot a row: `a\\|b`"
    )


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_beside_the_readme_lead_somewhere(page: str) -> None:
    """Those of the site are checked when it is built."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []
