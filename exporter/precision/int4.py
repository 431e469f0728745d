"""int4: matrix weights in 4 bit, in blocks with a scale and a zero point each (`MatMulNBits`); the rest float32.

The rest is float16 on CUDA. Blocks are 128 long, as GPTQ's and AWQ's usually are, and 32 where probe inputs show that
long ones lose too much (`--block-size` sets one size for all): long blocks are read 1.5 times faster. Rounded to
nearest with a searched scale by default; `--int4-method` has HQQ and GPTQ. Embeddings are 8 bit, and so is the last
product before an output, but where 4 bit move the probabilities of probe inputs by less than 0.005 nats: it is 4 bit
there, and the embeddings that are tied to it, stored once, are too (less than 0.0025 nats for those); trained language
models seldom allow it, `--int4-embeddings 4` does it all the same. Weights whose products lose most in 4 bit, measured
on probe inputs, are 8 bit: the manifest's provenance names them. Activations are float; kernels quantise them to 8 bit
block by block (accuracy level 4). Experts that tracing emitted as `MoE` become `QMoE` the same way; that takes an ONNX
Runtime newer than 1.27.
"""

from exporter.precision.base import Precision, Remedy, when_called

PRECISION = Precision(
    name="int4",
    dtype="float32",
    bytes_per_weight=0.8,
    error=0.4,
    top1=0.7,
    divergence=0.2,
    score=0.25,
    exact=False,
    agreement=0.1,
    cuda_dtype="float16",
    quantize=when_called("exporter.quantization.four_bit", "quantize_4_bit"),
    remedies=(
        Remedy("--block-size 32", lambda asked: asked.settings.block_size not in (16, 32)),
        Remedy("--int4-embeddings 8", lambda asked: asked.settings.embedding_bits != 8),
        Remedy("--int4-method gptq --calibration-data FILE", lambda asked: asked.settings.method != "gptq"),
        Remedy("--int8"),
    ),
)
