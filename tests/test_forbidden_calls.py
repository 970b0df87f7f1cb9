"""What no product file may do: unpickle, evaluate text, or start a shell."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    path
    for folder in ("shared", "client", "server", "simulations")
    for path in sorted((ROOT / folder).glob("fedward_*/**/*.py"))
]
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "yaml"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
CALLS = {
    "torch.load",
    "os.system",
    "os.popen",
    "os.execv",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "numpy.load",
    "np.load",
    "pd.read_pickle",
}


def dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else ""


def offences(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module)):
                found = [module]
            case ast.Call(func=func, keywords=keywords):
                name = dotted(func)
                shell = [k for k in keywords if k.arg == "shell"]
                if name in BUILTINS | CALLS or shell:
                    yield node.lineno, name
                continue
            case _:
                continue
        for name in found:
            if name.partition(".")[0] in MODULES:
                yield node.lineno, f"import {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_product_file_unpickles_evaluates_or_starts_a_shell(path: Path) -> None:
    assert list(offences(ast.parse(path.read_text("utf-8")))) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from torch.serialization import x\nimport dill as d",
        "from cloudpickle import loads",
        "eval('1')",
        "exec(code)",
        "torch.load(path)",
        "torch.load(path, weights_only=True)",
        "os.system('ls')",
        "subprocess.run('ls', shell=True)",
        "__import__(name)",
    ],
)
def test_each_of_them_would_be_noticed(text: str) -> None:
    assert list(offences(ast.parse(text)))


def test_what_only_sounds_like_them_is_let_be() -> None:
    fine = "model.eval()\nre.compile('a')\nsubprocess.run(['ls'])\nself.load(path)"
    assert list(offences(ast.parse(fine))) == []


def test_the_files_are_there() -> None:
    names = {path.name for path in FILES}
    assert {"charter.py", "ledger.py", "rounds.py", "hospitals.py"} <= names
