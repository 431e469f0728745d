"""What a failed export advises: nothing that was asked for already."""

from __future__ import annotations

import pytest

from exporter.precision import PRECISIONS
from exporter.quantization.request import Request, Settings


@pytest.mark.parametrize(
    ("precision", "request_", "advice"),
    [
        ("fp32", Request(), ""),
        ("fp16", Request(), "try --fp32"),
        ("bf16", Request("cuda"), "try --fp16 or --fp32"),
        ("int8", Request(), "try --int8-method weights, --calibration-data FILE or --fp16"),
        ("int8", Request(calibrated=True), "try --int8-method weights or --fp16"),
        ("int8", Request("cuda"), "try --fp16"),
        ("int8", Request(settings=Settings(int8_method="weights")), "try --fp16"),
        (
            "int4",
            Request(),
            "try --block-size 32, --int4-embeddings 8, --int4-method gptq --calibration-data FILE or --int8",
        ),
        ("int4", Request(settings=Settings(32, method="gptq", embedding_bits=8)), "try --int8"),
    ],
)
def test_advice(precision: str, request_: Request, advice: str) -> None:
    assert PRECISIONS[precision].advice(request_) == advice
