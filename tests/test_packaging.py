"""What a user gets: a cheap import, the import directions, the wheel's contents, a wheel that works in an environment of its own."""

import importlib
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from lab_harness import source_path

import pcviz

REPO = Path(__file__).resolve().parents[1]
LIMIT_S = 120


def python(*arguments, executable=sys.executable, cwd=REPO, **env):
    """Runs Python in a process of its own; returns its output, fails with what it printed."""
    done = subprocess.run(
        [str(executable), *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=LIMIT_S, env={**os.environ, **env}
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_import_is_cheap_and_works_without_torch_and_widgets():
    heavy = ["torch", "triton", "numpy", "ipywidgets", "anywidget", "plotly", "graphviz", "IPython", "jupyterlab"]
    print(python("-c", f"import sys, pcviz; found = set({heavy}) & set(sys.modules); assert not found, found", PYTHONPATH=source_path()))
    blocked = [name for name in heavy if name != "numpy"]
    code = f"""
import sys
for name in {blocked}:
    sys.modules[name] = None
import pcviz as pcv
root = pcv.PD((2, 2), num_latents=4, dist=pcv.Categorical(num_cats=3))
print(pcv.plan_summary(root, block_size=2))
assert pcv.compile(root, block_size=2) is not None
pcv.estimate(pcv.plan_summary(root, block_size=2))
assert pcv.recommend(root).best.block_size in (1, 2, 4)
assert pcv.datasets.digits().shape == (1437, 64)
"""
    python("-c", code, PYTHONPATH=source_path())


def test_every_public_name_resolves():
    for name in pcviz.__all__:
        assert getattr(pcviz, name) is not None, name
    assert set(pcviz.__all__) <= set(dir(pcviz))
    with pytest.raises(AttributeError, match="no attribute 'Explore'.*explore"):
        pcviz.Explore  # noqa: B018


def test_imports_go_one_way():
    python("-c", "from importlinter.cli import lint_imports_command as run; run(['--no-cache'])", PYTHONPATH=source_path())


def test_ruff_is_content():
    python("-m", "ruff", "check", "--no-cache", "--output-format", "concise", ".")


def test_no_file_outgrows_its_idea():
    sources = [*(REPO / "pcviz").rglob("*.py"), *(REPO / "kernels").rglob("*.py")]
    long_files = {path.name: count for path in sources if (count := len(path.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long_files, f"files of more than 400 lines: {long_files}"


def test_windows_can_import_every_module():
    """No module imports what only POSIX has."""
    posix_only = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
    for path in [*(REPO / "pcviz").rglob("*.py"), *(REPO / "kernels").rglob("*.py")]:
        words = set(re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(encoding="utf-8"), re.M))
        assert not posix_only & words, path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    code = f"import hatchling.build as b; print(b.build_wheel({str(folder)!r}))"
    name = python("-c", code).strip().splitlines()[-1]
    return folder / name


def test_wheel_contents(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    data = next(name.partition("/")[0] for name in names if ".data/" in name)
    shared = {name.removeprefix(f"{data}/data/share/pcviz/") for name in names if name.startswith(data)}
    assert {"notebooks/start.ipynb", "assets/explorer.png", "assets/digits.csv.gz", "assets/digits.LICENSE.txt"} <= shared
    assert any(name.startswith("assets/recorded/") for name in shared)
    rest = {name for name in names if not name.startswith(data) and ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in rest} == {"pcviz", "pcviz_kernels"}
    sources = [path for path in (REPO / "pcviz").rglob("*") if path.suffix in {".py", ".js", ".css", ".json"}]
    shipped = {path.relative_to(REPO).as_posix() for path in sources}
    assert shipped <= rest, f"missing in the wheel: {sorted(shipped - rest)}"
    assert not any("__pycache__" in name or name.endswith(".part") for name in names)


def test_wheel_works_in_its_own_environment(wheel, tmp_path):
    """Installed from the wheel alone; torch and the other requirements come from this process's environment."""
    home = tmp_path / "env"
    python("-m", "venv", "--without-pip", home)
    inside = next(path for path in (home / "bin" / "python", home / "Scripts" / "python.exe") if path.exists())
    python("-m", "pip", "--python", inside, "install", "--no-deps", "--no-index", "--quiet", wheel, cwd=tmp_path)
    here = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    site = python("-c", "import sysconfig; print(sysconfig.get_path('purelib'))", executable=inside, cwd=tmp_path).strip()
    (Path(site) / "requirements.pth").write_text("\n".join(dict.fromkeys(here)))
    code = """
import pathlib, sys
import pcviz
from pcviz import lab
from pcviz.assets import asset_path, install_kind
home = pathlib.Path(sys.prefix).resolve()
assert home in pathlib.Path(pcviz.__file__).resolve().parents, pcviz.__file__
assert home in asset_path("digits.csv.gz").parents and install_kind().startswith("installed wheel")
assert pcviz.datasets.digits("all").shape == (1797, 64)
done = lab.sync_lessons(pathlib.Path("lessons"))
assert "start.ipynb" in done.copied and (done.folder / "assets" / "explorer.png").is_file()
import pcviz_kernels
try:
    asset_path("nothing.csv")
except FileNotFoundError as error:
    assert "assets/nothing.csv" in str(error)
else:
    raise AssertionError("a missing file must be named")
"""
    python("-c", code, executable=inside, cwd=tmp_path, PYTHONPATH="")
    assert "installed wheel" in python("-m", "pcviz", "info", executable=inside, cwd=tmp_path, PYTHONPATH="")


def readme():
    return (REPO / "README.md").read_text(encoding="utf-8")


def test_readme_commands_are_those_of_ci():
    commands = [line for block in re.findall(r"```sh\n(.*?)```", readme(), re.S) for line in block.splitlines()]
    assert len(commands) == 2
    assert commands[0].endswith("pcviz lab") and commands[1].endswith("-m pytest")
    assert "-m pytest$" in (REPO / ".ci" / "run").read_text()


def test_readme_examples_run(tmp_path):
    """The ten lines, and then on their circuit those of a run that is saved and goes on."""
    (example,) = re.findall(r"```python\n(.*?)```", readme(), re.S)
    _data, train = re.findall(r"```py\n(.*?)```", readme(), re.S)
    compile(_data, "README.md", "exec")
    code = example.replace("epochs=3", "epochs=1") + train.replace("epochs=50", "epochs=2") + "print(training.state.step)"
    said = python("-c", code, cwd=tmp_path, PYTHONPATH=source_path())
    assert "bits per dimension" in said and said.splitlines()[-1] == "12" and (tmp_path / "run.pcviz").exists()


def test_readme_names_what_is_there():
    (tree,) = re.findall(r"```\n(pcviz/\n.*?)```", readme(), re.S)
    for line in tree.splitlines():
        names = re.match(r"  ((?:[\w/]+(?:\.py)? )+) ", line)
        for name in names.group(1).split() if names else []:
            assert (REPO / "pcviz" / name).exists(), f"README's structure names pcviz/{name}, which does not exist"
    for target in re.findall(r"\]\((?!http)([^)]+)\)", readme()):
        assert (REPO / target).exists(), f"README links to {target}, which does not exist"


def test_extras_import():
    """Every requirement of the package itself and of the tests is really installed here under the name we use."""
    for name in ("torch", "numpy", "safetensors", "ipywidgets", "anywidget", "plotly", "graphviz", "jupyterlab", "ipykernel"):
        importlib.import_module(name)
