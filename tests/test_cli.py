"""The command line: what it prints, and what it says when something is missing."""

import socket
from functools import partial

import numpy as np
import pytest
from test_idx import idx_bytes

from pcviz import bench_compile, cli, lab
from pcviz.bench_fresh import prepare_in_fresh_process
from pcviz.ir.checks import check_circuit
from pcviz.ir.nodes import sum_vectors
from pcviz.structures import HMM
from pcviz.triton_trace import VARIANTS


def test_info_names_versions_device_and_places(capsys):
    assert cli.main(["info"]) == 0
    text = capsys.readouterr().out
    for word in ("pcviz", "Python", "torch", "triton", "jupyterlab", "GPU", "lessons", "pcviz-lessons"):
        assert word in text


def test_missing_jupyterlab_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(lab, "find_spec", lambda name: None)
    assert cli.main(["lab", "--folder", str(tmp_path / "lessons")]) == 1
    said = capsys.readouterr()
    assert '-m pip install "pcviz[lab]"' in said.err and said.out == ""
    assert not (tmp_path / "lessons").exists()


def test_a_port_in_use_is_named(capsys, tmp_path):
    pytest.importorskip("jupyterlab")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["lab", "--no-browser", "--port", str(port), "--folder", str(tmp_path)]) == 1
    assert f"Port {port} cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["", "nonsense", "lab --port 0", "lab --port 65536", "lab --port a", "lab --what"])
def test_bad_arguments_are_refused(line, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(line.split())
    assert stopped.value.code == 2 and "pcviz" in capsys.readouterr().err


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0 and all(word in text for word in ("lab", "explore", "info"))


def test_explore_takes_the_options_of_lab(monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr(lab, "run_lab", lambda *given: seen.setdefault("given", given) and 0)
    assert cli.main(["explore", "--no-browser", "--port", "9001", "--folder", str(tmp_path), "--", "--ServerApp.ip=0.0.0.0"]) == 0
    assert seen["given"] == (tmp_path, 9001, False, ["--ServerApp.ip=0.0.0.0"])


def test_bench_fashion_trains_on_a_folder_of_images(capsys, tmp_path):
    for split, count in (("train", 50), ("t10k", 20)):
        images = np.random.default_rng(count).integers(0, 256, (count, 4, 4)).astype(np.uint8)
        (tmp_path / f"{split}-images-idx3-ubyte").write_bytes(idx_bytes(images))
    assert cli.main(f"bench fashion --folder {tmp_path} --latents 3 --epochs 2 --batch-size 20 --images 40".split()) == 0
    first, *epochs = capsys.readouterr().out.splitlines()
    assert "HCLT, K=3; log p within" in first and len(epochs) == 2
    assert epochs[1].startswith("epoch 2 of EM over 40 images, block size 4, mini-batches of 20: ") and "on test images" in epochs[1]
    assert cli.main(["bench", "fashion", "--folder", str(tmp_path / "nowhere")]) == 1
    assert "nowhere is no folder: install the Debian package dataset-fashion-mnist, or pass --folder" in capsys.readouterr().err


def test_the_device_line_does_not_need_torch_to_find_a_gpu(monkeypatch):
    monkeypatch.setattr(lab, "gpu_name", lambda: None)
    assert lab.describe().endswith("no GPU: H100 figures are recorded")
    monkeypatch.setattr(lab, "gpu_name", lambda: "NVIDIA H100 80GB HBM3")
    assert lab.describe().endswith("; NVIDIA H100 80GB HBM3")


@pytest.mark.parametrize("line", ["step --images {0}", "epochs --images {0}", "fashion --folder {0}", "step what", "layer what", "cold what"])
def test_bench_says_in_a_line_what_is_missing(line, capsys, tmp_path):
    assert cli.main(["bench", *line.format(tmp_path / "nowhere").split()]) == 1
    said = capsys.readouterr()
    assert not said.out and len(said.err.splitlines()) == 1 and ("nowhere" in said.err or "what" in said.err or "CUDA" in said.err)


def test_bench_compile_prepares_large_circuits_in_a_process_of_their_own():
    found, root = prepare_in_fresh_process(partial(HMM, 5, 256, 3), 32, repeats=2), HMM(5, 256, 3)
    assert found.num_edges == sum(nodes.num_edges for nodes in sum_vectors(root)) and found.seconds.shape == (2, 3) and (found.seconds > 0).all()
    one_copy = 4 * 256 * (256 + 1 + 3)  # bytes of tied transitions, first state and symbols; the circuit's and the plan's are there at the end
    assert 2 * one_copy <= found.peak_bytes < 6 * one_copy
    assert bench_compile._prepared("HMM", found).startswith("HMM, 0.3M edges: compile at block size 32 ")


def test_bench_compile_learns_the_tree_of_images(capsys, tmp_path):
    build = bench_compile.image_hclt(np.random.default_rng(0).integers(0, 256, (50, 9)), 2)
    first, second = build(), build()
    check_circuit(first)
    assert first is not second and len(first.variables) == 9
    assert cli.main(["bench", "compile", "--images", str(tmp_path / "nowhere")]) == 1
    assert "nowhere does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("what", ["step", "layer"])
def test_every_variant_can_be_timed(what, variant):
    assert cli._parser().parse_args(["bench", what, "--variant", variant]).variant == [variant]
