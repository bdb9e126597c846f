"""The house's budgets: small files, small functions, few parameters, thin imports."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("router", "backends", "policies")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
LAID_OUT = {  # one statement each, long because a row or a query has that many columns
    "router/decision_log/migrations.py": {"m0001_tables": 50},
    "router/decision_log/queries.py": {"decisions": 50},
    "router/ledger.py": {"refused": 60},
}
MAX_PARAMETERS = 6
HEAVY = ("torch", "transformers", "sentence_transformers", "diffusers", "huggingface_hub")
HANDLERS = ("get", "post", "put", "patch", "delete", "route")
BLOCKER = """
import importlib.machinery as machinery
find = machinery.PathFinder.find_spec
gone = {"torch", "transformers", "sentence_transformers", "diffusers"}
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in gone else find(name, path, target)
machinery.PathFinder.find_spec = find_spec
"""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class File(NamedTuple):
    """A file of the house, read and parsed once for every budget: there are hundreds."""

    name: str
    lines: list[str]
    tree: ast.Module

    @property
    def functions(self) -> list[Function]:
        """All of them, nested ones too."""
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]


@pytest.fixture(scope="module")
def files() -> list[File]:
    """Every file of the three packages. None would pass every budget."""
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    texts = [(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in paths]

    assert len(texts) > 60
    return [File(name, text.splitlines(), ast.parse(text)) for name, text in texts]


def is_handler(function: Function) -> bool:
    """A Litestar handler's parameters are the endpoint's query parameters."""
    names = [d.func.id for d in function.decorator_list if isinstance(d, ast.Call) and isinstance(d.func, ast.Name)]
    return any(name in HANDLERS for name in names)


def test_a_file_is_short(files) -> None:
    """Nothing above 400 lines: the file that grew is split before it is too late."""
    assert [] == [(file.name, len(file.lines)) for file in files if len(file.lines) > MAX_FILE_LINES]


def test_a_function_is_short(files) -> None:
    """A reader sees it whole."""
    lengths = [(file.name, f.name, f.end_lineno - f.lineno + 1) for file in files for f in file.functions]

    assert [] == [
        (file, name, length)
        for file, name, length in lengths
        if length > LAID_OUT.get(file, {}).get(name, MAX_FUNCTION_LINES)
    ]


def parameters(function: Function) -> list[str]:
    a = function.args
    return [arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs) if arg.arg not in {"self", "cls"}]


def test_a_function_takes_few_parameters(files) -> None:
    """More than six values want a type of their own, unless the line says why not (`noqa: PLR0913 - because`).

    A handler's are the query parameters of its route.
    """
    many = [(file, f) for file in files for f in file.functions if len(parameters(f)) > MAX_PARAMETERS]

    assert [] == [
        (file.name, f.name, parameters(f))
        for file, f in many
        if not is_handler(f) and "noqa: PLR0913 - " not in file.lines[f.lineno - 1]
    ]


def test_a_module_says_what_it_is_for(files) -> None:
    """Its first line is a sentence."""
    assert [] == [file.name for file in files if len(ast.get_docstring(file.tree) or "") <= 20]


def test_the_environment_is_read_in_one_place(files) -> None:
    """Only the settings know it."""
    ways = ("os.environ", "os.getenv", "from os import environ")
    found = {file.name for file in files if any(way in line for line in file.lines for way in ways)}

    assert found <= {"router/settings.py"}


def python(code: str, *args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *args]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


def modules_after(statement: str) -> set[str]:
    """What is imported after this statement that was not before."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    done = python(code)
    assert 0 == done.returncode, done.stderr
    return set(done.stdout.split())


def test_importing_the_router_imports_nothing_else() -> None:
    """`import router` is the standard library and ourselves."""
    roots = {name.partition(".")[0] for name in modules_after("import router")}

    assert set() == roots - set(sys.stdlib_module_names) - set(PACKAGES)


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    """The command line, the API and every backend can be imported without a single ML library, or the hub's client."""
    every = "import router.cli, router.app, router.http.inference, backends.registry, policies.registry"

    assert set() == {name for name in modules_after(every) if name.partition(".")[0] in HEAVY}


def test_a_router_that_is_in_no_cluster_imports_nothing_of_one(tmp_path) -> None:
    """It opens a house and answers without; what is told of clusters in the API's description is shapes alone."""
    code = """
import sys
from router.cli import main
main(['run', 'text-generation', 'hi', '--model', 'fake/chat', '--json'], standalone_mode=False)
print(*sorted(name for name in sys.modules if name.startswith('router.cluster.')))
"""
    done = python(code, cwd=tmp_path)

    assert 0 == done.returncode, done.stderr
    assert done.stdout.splitlines()[-1] in {"", "router.cluster.told"}


def test_policies_import_nothing_but_the_standard_library() -> None:
    """They are arithmetic."""
    roots = {name.partition(".")[0] for name in modules_after("import policies.registry")}

    assert set() == roots - set(sys.stdlib_module_names) - {"policies"}


def nearfar(*args: str, cwd: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    """The command as it runs from an empty folder, with something done before it starts."""
    return python(f"{before}\nfrom router.cli import main\nmain(prog_name='nearfar')", *args, cwd=cwd)


def test_help_needs_no_ml_library(tmp_path) -> None:
    """A thin install can be asked what it can do, and leaves nothing behind."""
    done = nearfar("--help", cwd=tmp_path, before=BLOCKER)

    assert (0, "") == (done.returncode, done.stderr)
    for command in ("serve", "run", "route", "models", "doctor", "report"):
        assert command in done.stdout
    assert [] == list(tmp_path.iterdir())


def test_a_thin_install_names_the_extra_that_is_missing(tmp_path) -> None:
    """A dry run of a local model says why it cannot run here, and what to install; a real one fails with the same."""
    dry = nearfar("route", "feature-extraction", "hello", "--json", cwd=tmp_path, before=BLOCKER)
    real = nearfar("run", "feature-extraction", "hello", cwd=tmp_path, before=BLOCKER)

    assert (0, "") == (dry.returncode, dry.stderr)
    assert "pip install 'nearfar[local]'" in dry.stdout
    assert 1 == real.returncode
    assert "No candidate" in real.stderr
    assert "pip install 'nearfar[local]'" in real.stderr
    assert "Traceback" not in real.stderr


def test_a_table_shows_square_brackets(tmp_path) -> None:
    """The extra to install is named for people as well."""
    done = nearfar("route", "feature-extraction", "hello", cwd=tmp_path, before=BLOCKER)

    assert "'nearfar[local]'" in done.stdout.replace("\n", "")
