"""The house's budgets: small files, small functions, few parameters, thin imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("router", "backends", "policies")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
NAMES = [str(file.relative_to(ROOT)) for file in FILES]
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
each_file = pytest.mark.parametrize("file", FILES, ids=NAMES)


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def functions(file: Path) -> list[Function]:
    return [node for node in ast.walk(tree(file)) if isinstance(node, Function)]


def is_handler(function: Function) -> bool:
    """A Litestar handler's parameters are the endpoint's query parameters."""
    names = [d.func.id for d in function.decorator_list if isinstance(d, ast.Call) and isinstance(d.func, ast.Name)]
    return any(name in HANDLERS for name in names)


def test_there_is_something_to_measure() -> None:
    """An empty list would pass every test below."""
    assert len(FILES) > 60


@each_file
def test_a_file_is_short(file) -> None:
    """Nothing above 400 lines: the file that grew is split before it is too late."""
    lines = len(file.read_text(encoding="utf-8").splitlines())

    assert lines <= MAX_FILE_LINES


@each_file
def test_a_function_is_short(file) -> None:
    """A reader sees it whole."""
    allowed = LAID_OUT.get(file.relative_to(ROOT).as_posix(), {})
    lengths = [(f.name, f.end_lineno - f.lineno + 1) for f in functions(file)]

    assert [] == [(name, length) for name, length in lengths if length > allowed.get(name, MAX_FUNCTION_LINES)]


@each_file
def test_a_function_takes_few_parameters(file) -> None:
    """More than six values want a type of their own, unless the line says why not (`noqa: PLR0913 - because`).

    A handler's are the query parameters of its route.
    """
    lines, found = file.read_text(encoding="utf-8").splitlines(), {}
    for function in functions(file):
        a = function.args
        names = [arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs) if arg.arg not in {"self", "cls"}]
        explained = "noqa: PLR0913 - " in lines[function.lineno - 1]
        if len(names) > MAX_PARAMETERS and not is_handler(function) and not explained:
            found[function.name] = names

    assert {} == found


@each_file
def test_a_module_says_what_it_is_for(file) -> None:
    """Its first line is a sentence."""
    docstring = ast.get_docstring(tree(file))

    assert docstring
    assert len(docstring) > 20


@each_file
def test_the_environment_is_read_in_one_place(file) -> None:
    """Only the settings know it."""
    text = file.read_text(encoding="utf-8")
    found = [name for name in ("os.environ", "os.getenv", "from os import environ") if name in text]

    assert found == [] or file == ROOT / "router" / "settings.py"


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


@pytest.mark.parametrize(
    "module", ["router.cli", "router.app", "router.http.inference", "backends.registry", "policies.registry"]
)
def test_nothing_heavy_is_imported_before_it_is_needed(module) -> None:
    """The command line, the API and every backend can be imported without a single ML library, or the hub's client."""
    assert set() == {name for name in modules_after(f"import {module}") if name.partition(".")[0] in HEAVY}


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
