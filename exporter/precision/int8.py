"""int8: matrix weights in 8 bit, the rest of the graph in float32 (float16 with `--device cuda`).

On a CPU products are integer products (`DynamicQuantizeMatMul`, `MatMulIntegerToFloat`): weights int8, symmetric, a
scale per column; activations uint8, quantised as they come, with one scale for all rows of a batch. Measured on GPT-2's
shapes that is level with 8-bit weights alone for one row, and 2 to 3 times faster for 8 rows and for prompts.
With `--calibration-data` activations have scales that are fixed at export, chosen by what the products lose: as fast
(`QuantizeLinear`, `MatMulIntegerToFloat`), and an answer no longer depends on the texts that share its batch. Products
that no fixed scale suits stay dynamic or float; the manifest's provenance names them.
With `--device cuda` weights alone are 8 bit (`MatMulNBits`, in blocks): integer products are slower than fp16 there.
Embeddings of a quarter of a million numbers and more, and those tied to the output matrix at any size, are 8 bit in
blocks (`GatherBlockQuantized`), stored once. Convolutions stay float without calibration data.
"""

from collections.abc import Mapping

import onnx_ir

from exporter.precision.base import Precision
from exporter.quantization.plan import Report
from exporter.quantization.request import Request


def quantize(graphs: Mapping[str, onnx_ir.Model], request: Request) -> Report:
    """Loaded when it is needed: torch takes seconds, and a wrong command line should be refused at once."""
    from exporter.quantization.integer import quantize_8_bit

    return quantize_8_bit(graphs, request)


PRECISION = Precision(
    name="int8",
    dtype="float32",
    bytes_per_weight=1.1,
    error=0.15,
    top1=0.9,
    divergence=5e-2,
    score=0.1,
    exact=False,
    agreement=0.3,
    cuda_dtype="float16",
    quantize=quantize,
)
