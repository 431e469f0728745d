"""int8: matrix weights in 8 bit, the rest of the graph in float32 (float16 with `--device cuda`).

On a CPU products are integer products (`DynamicQuantizeMatMul`, `MatMulIntegerToFloat`): weights int8, symmetric, a
scale per column; activations uint8, quantised as they come, with one scale for all rows of a batch. Or weights alone
are 8 bit (`MatMulNBits`, blocks of 128): both are timed on weights of the model's sizes, for 1, 8 and 128 rows in
generators and 128 in encoders, and weights alone are taken where they need less than 0.9 of the time (geometric mean;
`--int8-method dynamic` and `weights` say so beforehand). With AVX-512 VNNI weights alone took 0.83 (a Llama of 160M)
and 0.93 (GPT-2) of the time for one row, but 1.1 to 1.3 times as long for 8 rows and 1.4 to 1.8 times for prompts.
One bundle cannot have both kernels: they read different layouts, so the weights would be kept twice.
With `--calibration-data` activations have scales that are fixed at export, chosen by what the products lose: as fast
(`QuantizeLinear`, `MatMulIntegerToFloat`), and an answer no longer depends on the texts that share its batch. Products
that no fixed scale suits stay dynamic or float; the manifest's provenance names them.
With `--device cuda` weights alone are 8 bit (`MatMulNBits`, in blocks): integer products are slower than fp16 there.
Experts that tracing emitted as `MoE` become `QMoE`: weights in blocks, computed in int8 too.
Embeddings of a quarter of a million numbers and more, and those tied to the output matrix at any size, are 8 bit in
blocks (`GatherBlockQuantized`), stored once. Convolutions stay float without calibration data.
"""

from exporter.precision.base import Precision, Remedy, when_called
from exporter.quantization.request import Request


def _integers(asked: Request) -> bool:
    return asked.device == "cpu" and asked.settings.int8_method != "weights"


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
    quantize=when_called("exporter.quantization.integer", "quantize_8_bit"),
    remedies=(
        Remedy("--int8-method weights", _integers),
        Remedy("--calibration-data FILE", lambda asked: _integers(asked) and not asked.calibrated),
        Remedy("--fp16"),
    ),
)
