"""Finds what overflows float16 in a model, on probe inputs, and makes float32 islands of it.

Every operation of a forward pass is watched: one that turns finite numbers into infinite ones names the module whose
code it belongs to. What overflowed is cut off at half the range, so that later modules are judged on their own, and the
passes are repeated with the islands so far until none overflows. Nothing here depends on an architecture.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from exporter.loading import Checkpoint
from exporter.quantization.feeds import TEXTS, image_rows, pictures, text_rows
from exporter.quiet import quiet
from exporter.tracing.attention import attention_implementation
from exporter.tracing.causal_lm import context_length
from exporter.tracing.islands import HALF, SAFE, WHOLE, Islands, converted, is_floats
from exporter.tracing.modules import recognise
from runtime.errors import ExportError

ROUNDS = 8
TOKENS = 64  # of a text
NEW_TOKENS = 4
# Operations that put infinities where a mask wants them.
MASKS = ("masked_fill", "where", "full", "fill", "index_put", "copy_", "log")
# Operations whose float16 kernels for CPUs are slow.
PRODUCTS = ("aten.mm.", "aten.addmm.", "aten.bmm.", "aten.baddbmm.", "aten.convolution.")
WIDE = "onward_wide"


def float32_islands(checkpoint: Checkpoint, exact: Callable[[], Any]) -> dict[str, str]:
    """Module name -> reason, for those of a float16 model that must be float32; they are, when this returns.

    exact: gives the model in float32, for the islands' weights; called only where something overflows. Raises
    `ExportError` when islands cannot keep the model in range.
    """
    model = checkpoint.model
    runs = probes(checkpoint)
    with quiet(), torch.no_grad(), wide_attention(model):
        watch = watched(model, runs)
        if not watch.overflowed:
            return {}
        wide = exact()
        islands = Islands(model, wide.get_submodule, watch.native)
        for _ in range(ROUNDS):
            added = [islands.add(name) for name in watch.overflowed]
            if not any(added):
                break
            islands.apply()
            watch = watched(model, runs)
            if not watch.overflowed:
                return {name: reason(island.kind) for name, island in islands.settle().items()}
    first = next(iter(watch.overflowed)) or f"{type(model).__name__} itself"
    raise ExportError(
        f"{checkpoint.source.id} leaves the range of float16 in {first}, and float32 islands do not mend it: "
        "export it with --fp32, or with --bf16 --device cuda"
    )


def reason(kind: str) -> str:
    """For the report."""
    if kind == WHOLE:
        return "its results pass 65504 on probe inputs: weights and arithmetic in float32"
    return "its own sums or products pass 65504 on probe inputs: computed in float32"


def watched(model: Any, runs: list[Callable[[], Any]]) -> Watch:
    """Run the probes and say what overflowed."""
    watch = Watch(model)
    with watch.modules(), watch:
        for run in runs:
            run()
    return watch


class Watch(TorchDispatchMode):  # type: ignore[misc]
    """Watches operations; overflowed: modules whose own code made infinities, in the order of the pass.

    native: modules with float16 weights that were given float32.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.stack: list[str] = [""]
        self.closed: list[str] = []  # modules under way that will be one operator, judged by their output alone
        self.overflowed: dict[str, None] = {}
        self.native: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(product in str(func) for product in PRODUCTS):
            output = in_float32(func, args, kwargs or {})
        else:
            output = func(*args, **(kwargs or {}))
        if not self.closed and not any(mask in str(func) for mask in MASKS):
            self._judge(output, (args, kwargs))
        return output

    def _judge(self, output: Any, inputs: Any) -> None:
        for value in tree_leaves(output):
            if not is_floats(value) or value.dtype != HALF or bool(torch.isfinite(value).all()):
                continue
            if not any(masked(tensor) for tensor in tree_leaves(inputs) if tensor is not value):
                self.overflowed[self.stack[-1]] = None
                value.nan_to_num_(nan=0.0, posinf=SAFE, neginf=-SAFE)

    @contextlib.contextmanager
    def modules(self) -> Iterator[None]:
        """Keep track of the module whose code is running."""
        handles = []
        for name, module in self.model.named_modules():
            enter, leave = self._hooks(name, recognise(module) is not None)
            handles.append(module.register_forward_pre_hook(enter, prepend=True, with_kwargs=True))
            handles.append(module.register_forward_hook(leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hooks(self, name: str, emitted: bool) -> tuple[Callable[..., None], Callable[..., None]]:
        def enter(module: torch.nn.Module, args: Any, kwargs: Any) -> None:
            self.stack.append(name)
            self.closed += [name] if emitted else []
            weights = [weight for weight in module._parameters.values() if weight is not None]
            floats = [value for value in tree_leaves((args, kwargs)) if is_floats(value)]
            if weights and weights[0].dtype == HALF and any(value.dtype == torch.float32 for value in floats):
                self.native.add(name)

        def leave(module: torch.nn.Module, args: Any, output: Any) -> None:
            if emitted:
                self.closed.pop()
                self._judge(output, ())
            self.stack.pop()

        return enter, leave


def in_float32(func: Any, args: Any, kwargs: Any) -> Any:
    """An operation on float16 in float32, rounded to float16: the same result, in a tenth of the time on a CPU."""
    floats = [value for value in tree_leaves(args) if is_floats(value)]
    if any(value.dtype != HALF or value.device.type != "cpu" for value in floats):
        return func(*args, **kwargs)
    wide = tree_map(lambda value: converted(value, torch.float32), args)
    return tree_map(lambda value: converted(value, HALF), func(*wide, **kwargs))


def masked(value: Any) -> bool:
    """Whether a tensor holds what masks are made of: infinities, or the lowest number of its dtype."""
    if not is_floats(value) or not value.numel():
        return False
    return bool((value <= torch.finfo(value.dtype).min).any()) or bool(value.isnan().any())


@contextlib.contextmanager
def wide_attention(model: Any) -> Iterator[None]:
    """Attention in float32 inside, as the operators that are emitted for it compute; the model's own where it has
    no such interface."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(Exception):  # any model code may refuse
            stack.enter_context(attention_implementation(model, WIDE))
        yield


def attend_wide(module: torch.nn.Module, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
    """The eager attention of the module's own file (transformers' convention), in float32.

    Keys and values of a decoder are kept in float16, and queries are what the operator takes with them.
    """
    given = query.dtype
    if getattr(module, "is_causal", False):
        query, key, value = (tensor.to(HALF) for tensor in (query, key, value))
    eager = vars(sys.modules[type(module).__module__])["eager_attention_forward"]
    wide = mask.float() if is_floats(mask) else mask
    output, weights = eager(module, query.float(), key.float(), value.float(), wide, **kwargs)
    return output.to(given), weights


def probes(checkpoint: Checkpoint) -> list[Callable[[], Any]]:
    """Forward passes over built-in texts or pictures; a few generated tokens where there is an encoder."""
    model, kind = checkpoint.model, checkpoint.row.kind
    if checkpoint.processor is not None:
        rows = image_rows(checkpoint.processor, pictures())
    else:
        limit = min(TOKENS, context_length(model), checkpoint.tokenizer.model_max_length)
        rows = text_rows(checkpoint.tokenizer, TEXTS, limit)
    known = inspect.signature(model.forward).parameters
    feeds = [{name: tensor_of(array, model) for name, array in row.items() if name in known} for row in rows]
    if kind in ("seq2seq", "captioning"):
        options = {"do_sample": False, "num_beams": 1, "max_new_tokens": NEW_TOKENS}
        return [partial(model.generate, **feed, **options) for feed in feeds]
    return [partial(model, **feed) for feed in feeds]


def tensor_of(array: np.ndarray, model: Any) -> torch.Tensor:
    """On the model's device; pixels in its dtype."""
    tensor = torch.tensor(array, device=model.device)
    return tensor.to(model.dtype) if tensor.is_floating_point() else tensor


ALL_ATTENTION_FUNCTIONS.register(WIDE, attend_wide)
ALL_MASK_ATTENTION_FUNCTIONS.register(WIDE, ALL_MASK_ATTENTION_FUNCTIONS["eager"])
