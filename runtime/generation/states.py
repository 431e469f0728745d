"""The runner of fallback bundles: a prefill and a decode graph that hand named states from one to the next.

Slower than slots and always right: whatever a model keeps between steps (growing keys and values, convolution and
recurrent states), its graphs take in and give out as tensors. Rows run one by one, so nothing has to be padded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnxruntime as ort

from runtime.bundle import CacheSpec, GraphSpec
from runtime.errors import CapacityError
from runtime.generation.device_memory import device_name
from runtime.generation.statistics import Memory


@dataclass
class Row:
    """What one row keeps: its states by the decode graph's input names, and how many tokens it holds.

    source: what the prompt's graph reads besides tokens, arrays `[1, ...]` by input name: the image of a caption.
    """

    states: dict[str, ort.OrtValue] = field(default_factory=dict)
    length: int = 0
    source: Mapping[str, np.ndarray] = field(default_factory=dict)


class StateRunner:
    """Runs `prefill` and `decode` over rows of states. Not thread-safe: the engine owns it."""

    rewinds = False  # a state holds all of its past at once
    lockstep = False
    candidates = 0
    prefers_candidates = False

    def __init__(
        self,
        sessions: Mapping[str, ort.InferenceSession],
        graphs: Mapping[str, GraphSpec],
        spec: CacheSpec,
        slots: int,
        max_length: int,
    ) -> None:
        self.sessions = sessions
        self.graphs = graphs
        self.spec = spec
        self.devices = {name: output_devices(session) for name, session in sessions.items()}
        self.slots = slots
        self.max_length = max_length
        self.rows = [Row() for _ in range(slots)]
        logits = next(output for output in graphs["decode"].outputs if output.name == "logits")
        self.vocab_size = int(logits.shape[-1])

    def reserve(self, slots: int, length: int) -> None:
        """States grow by themselves; only the limits are checked."""
        if slots > self.slots or length > self.max_length:
            raise CapacityError(f"{slots} rows of {length} tokens are more than {self.slots} of {self.max_length}")

    def prefill(self, slot: int, input_ids: np.ndarray, start: int = 0, best: bool = False) -> np.ndarray:
        """Run a prompt `[tokens]` from nothing, or from what the row holds with `start`; returns logits `[1, vocab]`.

        Goes token by token where there is no prefill graph, and for a continuation. best: has no effect, here and in
        what follows: these graphs give all logits, of the last token alone.
        """
        if start == 0:
            self.rows[slot] = Row(self._initial_states(), source=self.rows[slot].source)
            if "prefill" in self.sessions:
                self.rows[slot].length = len(input_ids)
                return self._run("prefill", self.rows[slot], input_ids, 0)[None]
        for token in input_ids:
            logits = self._step(slot, int(token))
        return logits[None]

    def prefill_each(self, slots: Sequence[int], prompts: Sequence[np.ndarray], best: bool = False) -> np.ndarray:
        """One prompt after the other; returns logits `[prompts, vocab]`."""
        return np.concatenate([self.prefill(slot, prompt) for slot, prompt in zip(slots, prompts, strict=True)])

    def prefill_together(self, first_slot: int, prompts: Sequence[np.ndarray], best: bool = False) -> np.ndarray:
        """As `prefill_each`, in neighbouring rows."""
        return self.prefill_each(range(first_slot, first_slot + len(prompts)), prompts)

    def decode(self, tokens: Sequence[int] | np.ndarray, best: bool = False) -> np.ndarray:
        """One token `[rows]` for each of the first rows; returns logits `[rows, vocab]`."""
        return np.stack([self._step(slot, int(token)) for slot, token in enumerate(tokens)])

    def score(self, input_ids: np.ndarray, positions: np.ndarray | None = None) -> np.ndarray:
        """Logits `[positions, vocab]` of one text through row 0, token by token: at every position, or those given."""
        wanted = set(range(len(input_ids)) if positions is None else positions.tolist())
        first = self.prefill(0, input_ids[:1])
        rows = [first[0]] if 0 in wanted else []
        for place, token in enumerate(input_ids[1:], 1):
            logits = self._step(0, int(token))
            if place in wanted:
                rows.append(logits)
        return np.stack(rows)

    def encode(self, slot: int, source: Mapping[str, np.ndarray]) -> None:
        """Keep what the prompt's graph will read in `slot` besides tokens, where it reads anything."""
        wanted = {spec.name for spec in self.graphs["prefill"].inputs} if "prefill" in self.graphs else set()
        if not wanted >= set(source):
            raise TypeError("a decoder-only model takes no source")
        self.rows[slot] = Row(source=source)

    def copy(self, source: int, target: int, length: int | None = None) -> None:
        """Row `target` becomes what `source` is, whole; states are never written in place, so sharing is safe."""
        self.rows[target] = Row(self.rows[source].states, self.rows[source].length)

    def swap(self, one: int, other: int) -> None:
        """Exchange two rows."""
        self.rows[one], self.rows[other] = self.rows[other], self.rows[one]

    @property
    def allocated(self) -> int:
        """Rows; each takes memory when it is used."""
        return self.slots

    def held(self, slot: int) -> np.ndarray:
        """Nothing that another prompt could go on from."""
        return np.zeros(0, np.int32)

    def rewind(self, slot: int, length: int) -> None:
        """States cannot go back."""
        raise TypeError("a state model's rows cannot be rewound")

    def extend(self, slot: int, tokens: np.ndarray, best: bool = False) -> np.ndarray:
        """Append tokens `[n]` to a row, one by one; returns the logits after each, `[n, vocab]`."""
        return np.stack([self._step(slot, int(token)) for token in tokens])

    def memory(self) -> Memory:
        """Bytes of the states that rows hold; their sizes follow from the model and the texts."""
        held = {id(value): value for row in self.rows for value in row.states.values()}
        allocated = sum(int(value.tensor_size_in_bytes()) for value in held.values())
        return Memory(self.slots, self.max_length, allocated, None)

    def reorder(self, rows: Sequence[int]) -> None:
        """Row i becomes what row `rows[i]` was."""
        self.rows[: len(rows)] = [Row(self.rows[row].states, self.rows[row].length) for row in rows]

    def _initial_states(self) -> dict[str, ort.OrtValue]:
        # Each has its own type: Mamba keeps its recurrent state in float32 whatever the weights are.
        dtypes = {spec.name: np.dtype(spec.dtype) for spec in self.graphs["decode"].inputs}
        shapes = self.spec.initial_states.items()
        return {name: ort.OrtValue.ortvalue_from_numpy(np.zeros((1, *shape), dtypes[name])) for name, shape in shapes}

    def _step(self, slot: int, token: int) -> np.ndarray:
        row = self.rows[slot]
        row.length += 1
        return self._run("decode", row, np.array([token], np.int64), row.length - 1)

    def _run(self, name: str, row: Row, input_ids: np.ndarray, past: int) -> np.ndarray:
        graph, session = self.graphs[name], self.sessions[name]
        binding = session.io_binding()
        known = {**token_inputs(input_ids, past), **row.source}
        for spec in graph.inputs:
            if spec.name in row.states:  # still where the last step left it
                binding.bind_ortvalue_input(spec.name, row.states[spec.name])
            else:
                binding.bind_cpu_input(spec.name, known[spec.name])
        for spec in graph.outputs:
            binding.bind_output(spec.name, "cpu" if spec.name == "logits" else self.devices[name][spec.name])
        session.run_with_iobinding(binding)
        outputs = dict(zip((spec.name for spec in graph.outputs), binding.get_outputs(), strict=True))
        row.states = {target: outputs[source] for target, source in self.spec.state_names.items()}
        logits: np.ndarray = outputs["logits"].numpy()[0, -1].astype(np.float32)
        return logits


def output_devices(session: ort.InferenceSession) -> dict[str, str]:
    """Where each output of a session arises; states that stay there do not cross to the host in every step."""
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, map(device_name, session.get_output_memory_infos()), strict=True))


def token_inputs(input_ids: np.ndarray, past: int) -> dict[str, np.ndarray]:
    """The inputs that follow from tokens and their place: `[1, tokens]`, no padding."""
    count = len(input_ids)
    return {
        "input_ids": np.ascontiguousarray(input_ids[None], np.int64),
        "attention_mask": np.ones((1, past + count), np.int64),
        "position_ids": np.arange(past, past + count, dtype=np.int64)[None],
        "cache_position": np.arange(past, past + count, dtype=np.int64),
    }
