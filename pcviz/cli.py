"""The command ``pcviz``."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from . import __version__, lab
from .assets import install_kind


def main(argv: list[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except lab.LabError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pcviz", description="See block-based parallelization of probabilistic circuits.")
    parser.add_argument("--version", action="version", version=f"pcviz {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_lab(commands, "lab", "open JupyterLab with the explorer and the lessons")
    _add_lab(commands, "explore", "the same as lab: the explorer is the first thing it shows")
    info = commands.add_parser("info", help="show versions, device and where files are")
    info.set_defaults(run=_info)
    _add_export(commands)
    _add_bench(commands)
    return parser


def _add_lab(commands, name: str, text: str) -> None:
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.add_argument("--port", type=_port, help="port to listen on (default: 8888, or the next free one)")
    command.add_argument("--no-browser", action="store_true", help="print the address only")
    command.add_argument("--folder", type=Path, default=lab.DEFAULT_FOLDER, help="where your copies of the lessons are (default: %(default)s)")
    command.add_argument("options", nargs="*", metavar="-- OPTION", help="options for JupyterLab itself, after --")
    command.set_defaults(run=_lab)


def _add_export(commands) -> None:
    export = commands.add_parser("export", help="save the explorer of a circuit as one HTML file that opens from a disk")
    export.add_argument("circuit", nargs="?", type=Path, help="a file of pcv.save (default: the layer of the paper's figure 5)")
    export.add_argument("--scene", help='a scene for teaching instead of a circuit, such as "padding-loses"')
    export.add_argument("-o", "--out", type=Path, default=Path("pcviz.html"), help="the HTML file (default: %(default)s)")
    export.add_argument("--block-size", type=int, help="the one shown first")
    export.add_argument("--batch-size", type=int, default=512)
    export.add_argument("--tolerance", type=float, action="append", help="padding tolerance; up to three times (default: 0.25)")
    export.add_argument("--device", default="H100-SXM", help="H100-SXM or cpu (default: %(default)s)")
    export.set_defaults(run=_export)


def _add_bench(commands) -> None:
    bench = commands.add_parser("bench", help="measure the engine on this machine; results are checked before they are timed")
    kinds = bench.add_subparsers(title="what", required=True, metavar="WHAT")
    _add_bench_here(kinds)
    _add_bench_gpu(kinds)
    for name, command in kinds.choices.items():
        command.set_defaults(what=name)


def _add_bench_here(kinds) -> None:
    """What a laptop can measure."""
    kinds.add_parser("digits", help="sum layers against torch.bmm, block size 1 against 32, an EM epoch").set_defaults(run=_bench)
    compiling = kinds.add_parser("compile", help="compile and plan_summary on small and large circuits, initial parameters, memory")
    compiling.add_argument("--images", type=Path, metavar="FOLDER", help="IDX files with images (Fashion-MNIST), for an HCLT of 512 latents")
    compiling.set_defaults(run=_bench)
    train = kinds.add_parser("train", help="bits per dimension on the bundled digits")
    train.add_argument("--epochs", type=int, default=50)
    train.add_argument("--batch-size", type=int, default=512)
    train.add_argument("--step-size", type=float, default=0.1)
    train.add_argument("--pseudocount", type=float, default=0.1)
    train.set_defaults(run=_bench)
    fashion = kinds.add_parser("fashion", help="an epoch of EM on Fashion-MNIST, a hidden Chow-Liu tree")
    fashion.add_argument("--folder", type=Path, help="its four IDX files (default: where the Debian package dataset-fashion-mnist has them)")
    fashion.add_argument("--latents", type=int, default=64)
    fashion.add_argument("--epochs", type=int, default=1)
    fashion.add_argument("--batch-size", type=int, default=512)
    fashion.add_argument("--images", type=int, help="only the first so many (default: all)")
    fashion.add_argument("--block-size", type=int)
    fashion.set_defaults(run=_bench)


def _add_bench_gpu(kinds) -> None:
    """What needs a GPU; most of it writes rows of assets/recorded."""
    step = kinds.add_parser("step", help="a training step of seven large circuits on a GPU, beside PyJuice's; rows for assets/recorded")
    step.add_argument("circuits", nargs="*", metavar="CIRCUIT", help="PD-128, PD-256, HCLT-256, HCLT-512, RAT-256, HMM-1024, HMM-2048 (default: all)")
    step.add_argument("--images", help="folder of IDX files with 784-pixel images, such as Fashion-MNIST")
    step.add_argument("--deterministic", action="store_true", help="measure pcviz's deterministic mode, too")
    step.add_argument("--block-size", type=int, help="block size of pcviz (default: 32 for PD, else 64)")
    _add_timed(step)
    layer = kinds.add_parser("layer", help="the large layer of figure 5 on a GPU at every block size, beside PyJuice's; rows for assets/recorded")
    layer.add_argument("layers", nargs="*", metavar="LAYER", help="fig5-dense, fig5-drawn (default: both)")
    layer.add_argument("--block-sizes", type=int, nargs="+", metavar="N", help="(default: 1 to 64, 1 to 128 of fig5-drawn)")
    layer.add_argument("--counters", action="store_true", help="bytes and times of each launch under Nsight Compute (ncu) instead")
    _add_timed(layer)
    cold = kinds.add_parser("cold", help="a first step on a GPU with no kernel compiled yet, a new batch size, a new block size")
    cold.add_argument("circuits", nargs="*", metavar="CIRCUIT", help="HCLT-256, PD-256, RAT-256, HMM-1024 (default: all)")
    cold.add_argument("--images", type=Path, help="folder with IDX images (Fashion-MNIST; default: random ones)")
    cold.set_defaults(run=_bench)
    epochs = kinds.add_parser("epochs", help="epochs of EM on a GPU, of pcviz and of PyJuice, on the same mini-batches")
    epochs.add_argument("circuit", nargs="?", default="HCLT-256", help="one of the circuits of bench step that are over images (default: HCLT-256)")
    epochs.add_argument("--images", type=Path, required=True, help="folder with IDX images (Fashion-MNIST)")
    epochs.add_argument("--epochs", type=int, default=10)
    _add_rows(epochs)


def _add_timed(command) -> None:
    """Options of what times passes of several variants."""
    command.add_argument("--variant", action="append", choices=["scaled", "paper", "float32"], help="variant of the sum kernel (default: scaled)")
    command.add_argument("--repeats", type=int, default=15)
    _add_rows(command)


def _add_rows(command) -> None:
    """Options of what writes rows."""
    command.add_argument("--batch-size", type=int, default=512)
    command.add_argument("--against", choices=["pyjuice"], help="measure PyJuice, too (extra: peers)")
    command.add_argument("--commit", default="", help="written to the rows")
    command.add_argument("--out", type=Path, help="CSV file that rows are added to")
    command.set_defaults(run=_bench)


def _export(args: argparse.Namespace) -> int:
    from .console import one_line
    from .io import load
    from .widgets.export import LIMIT_BYTES, export_html

    line, said = one_line(), []

    def tell(done: int, most: int, text: str) -> None:
        line(done, most, text)
        said[:] = [text]

    try:
        page = export_html(
            None if args.circuit is None else load(args.circuit),
            args.out,
            scene=args.scene,
            block_size=args.block_size,
            batch_size=args.batch_size,
            padding_tolerance=args.tolerance,
            device=args.device,
            title="" if args.circuit is None else args.circuit.stem,
            tell=tell,
        )
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nStopped; {args.out} was not written.", file=sys.stderr)
        return 130
    size = page.stat().st_size
    limit = f"{'limit' if size <= LIMIT_BYTES else 'more than'} {LIMIT_BYTES / 1e6:g} MB"
    print(f"{page}: {size / 1e6:.1f} MB ({limit}), opens in a browser without network or kernel")
    print(*said)
    return 0


def _bench(args: argparse.Namespace) -> int:
    from . import bench, bench_cold, bench_compile, bench_epochs, bench_fashion
    from .benchmark import WrongResult

    run = {
        "digits": bench.bench_digits,
        "compile": lambda: bench_compile.bench_compile(args.images),
        "train": lambda: bench.bench_train(args.epochs, args.batch_size, args.step_size, args.pseudocount),
        "step": lambda: _bench_step(args),
        "layer": lambda: _bench_layer(args),
        "cold": lambda: bench_cold.bench_cold(args.circuits, args.images),
        "epochs": lambda: bench_epochs.bench_epochs(args.circuit, args.images, epochs=args.epochs, **_for_rows(args)),
        "fashion": lambda: bench_fashion.bench_fashion(
            args.folder or bench_fashion.FOLDER, args.latents, args.epochs, args.batch_size, args.images, args.block_size
        ),
    }[args.what]
    try:
        for line in run():
            print(line, flush=True)
    except (FileNotFoundError, ChildProcessError, ImportError, ValueError, WrongResult) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _for_rows(args: argparse.Namespace) -> dict:
    """What ``_add_rows`` added, and the variants where there are some, as arguments of a benchmark."""
    variants = {"variants": tuple(args.variant or ["scaled"])} if "variant" in args else {}
    return {"batch_size": args.batch_size, "peers": args.against == "pyjuice", "commit": args.commit, "out": args.out, **variants}


def _bench_layer(args: argparse.Namespace) -> Iterator[str]:
    from . import bench_counters, bench_layer

    asked = {"block_sizes": args.block_sizes, **_for_rows(args)}
    if args.counters:
        return bench_counters.bench_counters(args.layers, **asked)
    return bench_layer.bench_layer(args.layers, repeats=args.repeats, **asked)


def _bench_step(args: argparse.Namespace) -> Iterator[str]:
    from .bench_step import bench_step
    from .datasets import load_idx
    from .peers import SIZES

    images = None if args.images is None else load_idx(args.images)
    return bench_step(
        args.circuits or list(SIZES),
        None if images is None else images.reshape(len(images), -1),
        block_size=args.block_size,
        repeats=args.repeats,
        deterministic=args.deterministic,
        **_for_rows(args),
    )


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"expects a whole number from 1 to 65535, got {text!r}")
    return int(text)


def _lab(args: argparse.Namespace) -> int:
    return lab.run_lab(args.folder, args.port, not args.no_browser, args.options)


def _info(args: argparse.Namespace) -> int:
    packages = ("torch", "triton", "numpy", "jupyterlab", "ipywidgets", "anywidget", "plotly")
    rows = {
        "pcviz": f"{__version__} ({install_kind()})",
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()} ({sys.executable})",
        **{name: lab.package_version(name) or "not installed" for name in packages},
        "GPU": lab.gpu_name() or "none found: H100 figures are recorded",
        "lessons": f"{lab.DEFAULT_FOLDER.expanduser()} (yours; copied by pcviz lab)",
    }
    for name, value in rows.items():
        print(f"{name:<11} {value}")
    return 0
