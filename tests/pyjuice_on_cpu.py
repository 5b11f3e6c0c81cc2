"""Lets PyJuice's own Triton kernels compute likelihoods without a GPU, in Triton's interpreter. Run as a program:

    python pyjuice_on_cpu.py FOLDER

For every circuit NAME.safetensors in the folder and its data NAME.npy [B, V] it writes NAME.out.npy [B], and NAME.back, the
circuit that comes back from PyJuice's compiled one. A process of its own,
because Triton decides when it is imported whether it interprets, and because PyJuice has to be told that the CPU is its device.
"""

import contextlib
import os
import sys
from pathlib import Path

os.environ["TRITON_INTERPRET"] = "1"
os.environ["PYJUICE_FAST_LAUNCH"] = "0"  # PyJuice's switch: launch kernels through Triton

import numpy as np  # noqa: E402
import torch  # noqa: E402


class CudaInName:
    """What PyJuice asks a layer's device."""

    type, index = "cuda", 0


def compiled(root_ns):
    """PyJuice's TensorCircuit on the CPU."""
    torch.cuda.current_device = lambda: 0
    torch.cuda.device = lambda *_: contextlib.nullcontext()
    torch.Tensor.cuda = lambda self, *_, **__: self
    import pyjuice

    pc = pyjuice.TensorCircuit(root_ns, verbose=False, disable_gpu_compilation=True)
    for layer in pc.input_layer_group:
        layer.device = CudaInName
    return pc


def main(folder: str) -> None:
    import pcviz as pcv

    for circuit in Path(folder).glob("*.safetensors"):
        x = torch.as_tensor(np.load(circuit.with_suffix(".npy")))
        pc = compiled(pcv.to_pyjuice(pcv.load(circuit)))
        with torch.no_grad():
            lls = pc(x, force_use_fp32=True)  # float32 throughout: the interpreter cannot multiply bfloat16
        np.save(circuit.with_suffix(".out.npy"), lls.flatten().numpy())
        pcv.save(pcv.from_pyjuice(pc), circuit.with_suffix(".back"))


if __name__ == "__main__":
    main(sys.argv[1])
