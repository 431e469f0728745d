"""The arithmetic of `make bench`: turns, ratios, sections of RESULTS.md, GGUF arrangement, the bandwidth floor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import protocol
from benchmarks.decode import CASES, PEERS, TITLES
from benchmarks.floor import read_bytes
from benchmarks.peers.environment import REQUIREMENTS
from benchmarks.peers.gguf_writer import arranged
from benchmarks.results import write_section
from benchmarks.turns import Metric, Side, table, take_turns
from tests.checkpoints import TINY_GPT2


def constant(**figures: float) -> Side:
    return Side("side", lambda: dict(figures))


def test_every_side_begins_a_round_in_its_turn() -> None:
    called: list[str] = []
    sides = [Side(name, lambda name=name: (called.append(name), {"ms": 1.0})[1]) for name in "abc"]
    take_turns(sides, 3)
    assert "".join(called) == "abcbcacab"


def test_ratios_say_how_many_times_better_the_first_side_is() -> None:
    ours, theirs = constant(ms=2.0, rate=30.0), constant(ms=5.0, rate=10.0)
    take_turns([ours, theirs], 3)
    lines = table("t", [ours, theirs], [Metric("ms", "ms"), Metric("rate", "rate", lower=False)])
    assert lines[-2] == "| side | **2.00** | **30.00** |"
    assert lines[-1] == "| side | 5.00 (2.50×, 2.50–2.50) | 10.00 (3.00×, 3.00–3.00) |"


def test_a_side_that_fails_is_left_out_and_says_why() -> None:
    def fail() -> dict[str, float]:
        raise RuntimeError("failed:\nTraceback\nImportError: no such engine in /home/me/engine.so")

    ours, theirs = constant(ms=1.0), Side("peer", fail)
    take_turns([ours, theirs], 2)
    lines = table("t", [ours, theirs], [Metric("ms", "ms")])
    assert "| peer | – |" in lines
    assert lines[-1].strip() == "peer: not measured, ImportError: no such engine in engine.so"


def test_a_figure_that_a_side_does_not_have_is_a_dash() -> None:
    sides = [constant(ms=1.0, mb=2.0), constant(ms=1.0)]
    take_turns(sides, 1)
    assert table("t", sides, [Metric("ms", "ms"), Metric("MB", "mb")])[-1] == "| side | 1.00 (1.00×, 1.00–1.00) | – |"


def test_a_section_is_replaced_where_it_stands(tmp_path: Path) -> None:
    results = tmp_path / "RESULTS.md"
    for part, line in (("one", "first"), ("two", "kept"), ("one", "new \\1")):
        write_section(part, [line], results)
    text = results.read_text()
    assert "first" not in text and text.index("new \\1") < text.index("kept")
    assert text.count("## one") == 1


def test_a_case_is_replaced_and_the_others_of_its_part_stay(tmp_path: Path) -> None:
    results = tmp_path / "RESULTS.md"
    write_section("part", ["### a", "", "old a", "", "### b", "", "old b"], results)
    write_section("part", ["### a", "", "new a", "", "### c", "", "new c"], results)
    text = results.read_text()
    assert "old a" not in text and text.count("Measured") == 3
    assert text.index("new a") < text.index("### b") < text.index("old b") < text.index("new c")


def test_cpus_without_avx512_have_cases_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "RESULTS.md"
    for flags, line in (({"avx2", "avx512f"}, "fast"), ({"avx2"}, "slow"), ({"avx2"}, "slower")):
        monkeypatch.setattr("runtime.session.cpu_flags", lambda flags=flags: frozenset(flags))
        write_section("part", ["### a", "", line], results)
    text = results.read_text()
    assert text.index("### a\n") < text.index("fast") < text.index("### a, without AVX-512\n") < text.index("slower")
    assert "slow\n" not in text


def test_every_run_has_a_prompt_of_its_own() -> None:
    seen: list[bytes] = []
    protocol.timed(lambda tokens, count: seen.append(tokens.tobytes()), prompt=8, new=4, batch=2)
    assert len(set(seen)) == 3


def test_every_peer_has_requirements_and_every_case_a_title() -> None:
    assert {names for names, _ in PEERS.values()} <= {path.stem for path in REQUIREMENTS.glob("*.txt")}
    assert {case[0] for case in CASES} == set(TITLES)


def test_the_floor_reads_each_weight_once() -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(TINY_GPT2)
    looked_up = model.transformer.wpe.weight.numel() if not model.config.tie_word_embeddings else 0
    assert read_bytes(TINY_GPT2) == 4 * (model.num_parameters() - looked_up)


@pytest.mark.parametrize(("projection", "heads"), [("q_proj", 2), ("k_proj", 1)])
def test_rotary_rows_are_interleaved_for_llama_cpp(projection: str, heads: int) -> None:
    config = {
        "model_type": "llama",
        "num_hidden_layers": 1,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 8,
    }
    rows = np.arange(heads * 4, dtype=np.float32)[:, None]
    found = arranged(f"model.layers.0.self_attn.{projection}.weight", rows, config)[:, 0]
    assert found.tolist() == [base + row for base in range(0, heads * 4, 4) for row in (0, 2, 1, 3)]
