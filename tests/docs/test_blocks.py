"""Every code block of the README and the documentation runs, or says why it can't be run here."""

from __future__ import annotations

import contextlib
import functools
import io
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from featx_cli import app
from tests.docs.blocks import ROOT, Block, blocks, commands_in_sentences
from tests.docs.conftest import TINY

if TYPE_CHECKING:
    from tests.cli.conftest import Featx
    from tests.docs.conftest import Sandbox

NOTEBOOKS = {"docs/tutorial.md"}
"""Pages whose blocks belong together: test_tutorial.py runs them."""
FIRST_PAGES = {"README.md", "docs/index.md", "docs/getting-started.md"}
"""Pages whose blocks run with `make test`. The other pages' take longer."""
BLOCKS = [block for block in blocks() if block.page not in NOTEBOOKS]
make_command = functools.cache(app.make_command)
SMALLER_PYTHON = (
    ('weights="imagenet"', 'weights="random"'),
    ("input_size=300", 'input_size=32, precision="float32", layer="block2_pool"'),
    ("accuracy_floor=0.95", "accuracy_floor=0.3"),
    ("accuracy_floor=0.9)", "accuracy_floor=0.1)"),
    (', layer=["block4_pool", "block5_pool"], pool_extra="pyramid"', ""),
    ('backbone="vgg19"', "backbone=featx.load_backbone(**TINY_BACKBONE), copies=1"),
    ("trials=50", "trials=2"),
)
"""Replacements in the Python blocks of the documentation. See `conftest.SMALLER`."""
WRITING = (
    ("extract", "--cache", "extract"),
    (r"\.save", "--out", "report"),
    ("export_onnx", "--onnx", "export"),
)
"""Verbs that write where an earlier page has written, and the options that do the same."""
# Exit codes of `featx data check` and `predict` that did their work and have something to say.
FINE = {"data check": {0, 1}}


def of(*languages: str, run: bool) -> list[Block]:
    return [b for b in BLOCKS if b.language in languages and bool(b.reason) is not run]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_is_run_or_says_why_not(block: Block) -> None:
    known = {"sh", "python", "yaml", "text", "r"}
    assert block.language in known, f"{block}: which language is this?"
    if block.language == "text":
        assert not re.search(r"^(featx|python|make|pip|import|\$) ", block.code, re.MULTILINE)
    elif block.language == "yaml":
        assert block.file or block.reason, f"{block}: where does a reader save this?"
    elif block.language == "python":
        foreign = "PyTorch" in block.reason
        assert foreign or not block.reason, f"{block}: what Python says can be run here"
        compile(block.code, str(block), "exec")
    elif block.language == "r":
        assert block.reason
    if block.reason:
        assert len(block.reason.split()) >= 3, f"{block}: {block.reason!r} is no reason"


@pytest.mark.usefixtures("words_only")
@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b, marks=[pytest.mark.long] * (b.page not in FIRST_PAGES))
        for b in of("sh", "python", run=True)
    ],
    ids=str,
)
def test_every_other_block_runs(featx: Featx, sandbox: Sandbox, block: Block) -> None:
    """Blocks are run in the order of the pages: one may need what those before it wrote."""
    for named in (b for b in BLOCKS if b.file):
        (sandbox.folder / named.file).write_text(named.code, encoding="utf-8")
    if block.language == "python":
        printed = run_program(sandbox, block)
        after = BLOCKS[min(BLOCKS.index(block) + 1, len(BLOCKS) - 1)]
        assert printed == after.code or not after.printed
        return
    for words in block.lines:
        assert words[0] == "featx", f"{block}: {words[0]} isn't run here: say why"
        line = " ".join(words)
        if line not in sandbox.done:
            sandbox.clear_the_way(words)
            answer = featx(*sandbox.arguments(words))
            fine = FINE.get(" ".join(words[1:3]), {0})
            assert answer.code in fine, f"{block}: {line}\n{answer.err}"
            sandbox.done.add(line)


def run_program(sandbox: Sandbox, block: Block) -> str:
    """Run a Python block and return what it printed."""
    code = block.code
    for theirs, ours in SMALLER_PYTHON:
        code = code.replace(theirs, ours)
    if re.search(r"\b(fit|tune)\(", code):
        for run in re.findall(r'"(runs/\w+)"', code):
            sandbox.clear_the_way(["featx", "", "--run", run])
    for verb, option, command in WRITING:
        for target in re.findall(rf'{verb}\((?:\w+, )?"([\w.]+)"', code):
            sandbox.clear_the_way(["featx", command, option, target])
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(compile(code, str(block), "exec"), {"__name__": "__main__", "TINY_BACKBONE": TINY})
    return output.getvalue()


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.file], ids=str)
def test_files_are_what_they_say(block: Block) -> None:
    assert isinstance(yaml.safe_load(block.code), dict)


class TestWhatIsNotRun:
    @pytest.mark.parametrize("block", of("sh", run=False), ids=str)
    def test_its_featx_commands_are_what_the_command_line_takes(self, block: Block) -> None:
        for words in block.lines:
            if words[0] == "featx":
                parse(words[1:])

    @pytest.mark.parametrize("block", of("sh", run=False), ids=str)
    def test_its_scripts_are_there_and_know_their_options(self, block: Block) -> None:
        for words in block.lines:
            if words[0] == "python" and words[1].endswith(".py"):
                script = (ROOT / words[1]).read_text(encoding="utf-8")
                for option in (word for word in words if word.startswith("--")):
                    assert f'"{option}"' in script, f"{block}: {option}"
            elif words[0] == "make":
                targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
                assert {w for w in words[1:] if "=" not in w} <= set(targets)


SENTENCES = dict(commands_in_sentences())


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_command_in_a_sentence_has_the_options_that_it_is_given(sentence: str) -> None:
    words = SENTENCES[sentence][1:]
    command: Any = make_command()
    while words and (below := getattr(command, "commands", None)):
        names = words.pop(0).split("|")
        if names[0].startswith("-"):
            words.insert(0, names[0])
            break
        assert set(names) <= set(below) or names[0].isupper()
        command = below.get(names[0], command)
        if names[0].isupper():  # featx COMMAND
            break
    known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    options = {word.split("|")[0].strip("[]") for word in words if word.startswith(("-", "[-"))}
    assert options <= known | {"--help", "-h"}


def parse(words: list[str]) -> None:
    """Have a command line read, values and all, and don't run it."""
    command: Any = make_command()
    name = "featx"
    while below := getattr(command, "commands", None):
        name, words = words[0], words[1:]
        command = below[name]
    command.make_context(name, list(words))
