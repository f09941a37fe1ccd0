"""The house: few modules beside the folders, no import circle, and nothing of the training in what inference needs."""

import ast
from pathlib import Path

import vqaudio

PACKAGE = Path(vqaudio.__file__).parent
FILES = {
    ".".join(("vqaudio", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
    if "conf" not in path.relative_to(PACKAGE).parts
}


def imports(nodes: list[ast.stmt]) -> set[str]:
    """Return the modules of the package that some statements, and all inside them, import."""
    found = set()
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module for name in names}
    return found & FILES.keys() - {"vqaudio"}


def reached(module: str, graph: dict[str, set[str]]) -> set[str]:
    """Return all modules that importing a module imports in turn."""
    found: set[str] = set()
    new = set(graph[module])
    while new:
        found |= new
        new = set().union(*(graph[name] for name in new)) - found
    return found


def test_at_most_14_modules_stand_beside_the_folders():
    assert len(list(PACKAGE.glob("*.py"))) <= 14


def test_no_module_imports_itself_through_others():
    graph = {}
    for name, path in FILES.items():
        body = ast.parse(path.read_text()).body
        graph[name] = imports([node for node in body if isinstance(node, ast.Import | ast.ImportFrom)])
    assert [name for name in graph if name in reached(name, graph)] == []


def test_inference_imports_nothing_of_the_training():
    graph = {name: imports(ast.parse(path.read_text()).body) for name, path in FILES.items()}
    rooms = ("vqaudio.units", "vqaudio.model", "vqaudio.codec", "vqaudio.sampling", "vqaudio.audio")
    inference = [name for name in graph if name.startswith(rooms)]
    assert len(inference) > 30
    for name in inference:
        assert not any(other.startswith("vqaudio.training") for other in reached(name, graph)), name
