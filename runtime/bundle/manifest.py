"""The manifest: `bundle.json`, everything the runtime needs, resolved once at export.

Field names follow the places they come from (`GenerationConfig`, `tokenizer_config.json`, ONNX value infos), so that
nothing has to be translated. Decoding is strict: a wrong type is an error that names the field.
"""

from __future__ import annotations

from typing import Any

import msgspec

SCHEMA_VERSION = 1
MANIFEST_FILE = "bundle.json"
# Stands before pieces of a vocabulary that no text is cut into: a character of the private use area.
HIDDEN = "\ue000"


class TensorSpec(msgspec.Struct, frozen=True):
    """One graph input or output. `shape` holds ints for fixed sizes and names (`batch`, `sequence`) for free ones."""

    name: str
    dtype: str  # numpy name: "int64", "float32", "float16", ...
    shape: list[int | str]


class GraphSpec(msgspec.Struct, frozen=True):
    """One ONNX file and its interface, in the order of the file."""

    file: str
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    nodes: dict[str, int] = {}  # operator -> how many, for people and tests
    fusions: dict[str, int] = {}  # what was fused -> how often, likewise


class CacheSpec(msgspec.Struct, frozen=True):
    """What a causal LM keeps between steps.

    kind "slots": fixed buffers `[slots, kv_heads, max_length, head_dim]`, past and present share memory.
    kind "states": named tensors handed from one step to the next (`state_names`: input of the decode graph -> output).
    """

    kind: str
    max_length: int
    dtype: str
    layers: list[tuple[int, int]] = []  # (kv_heads, head_dim) of each layer; "slots" only
    state_names: dict[str, str] = {}  # "states" only
    cross: list[tuple[int, int]] = []  # (heads, head_dim) of each layer's cross-attention; encoder–decoders only
    lockstep: bool = False  # the decoder takes one position for all rows of a step
    initial_states: dict[str, list[int]] = {}  # "states" without a prefill graph: shapes of the zeros to start from


class TokenizerSpec(msgspec.Struct, frozen=True):
    """What a tokenizer is beyond `tokenizer.json`: HF keeps it in class attributes and `tokenizer_config.json`."""

    model_input_names: list[str]
    padding_side: str = "right"
    truncation_side: str = "right"
    model_max_length: int | None = None  # None: no limit
    pad_token_id: int | None = None
    pad_token_type_id: int = 0
    special_tokens: dict[str, str] = {}  # HF's special_tokens_map: {"bos_token": "<s>", ...}
    extra_special_tokens: list[str] = []  # special tokens without a name
    split_special_tokens: bool = False  # whether special tokens inside of a text are taken for plain text
    clean_up_tokenization_spaces: bool = False
    clean_up_on_decode: bool = False  # whether HF's decode applies the clean-up for this tokenizer (not for BPE in 5.x)
    decode_word_suffix: str = ""  # CLIP: decode turns this into a space, then strips
    chat_template: dict[str, str] = {}  # template name ("default", "tool_use") -> file in the bundle
    vocab_size: int = 0
    # Ids from here on mean the unknown token; what the model does not know is looked up among the hidden pieces.
    unknown_from: int | None = None


class ImageSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The steps from an RGB image to pixel values, in this order; names and meanings are HF's image processors'.

    size: keys `height` and `width`; `shortest_edge`; `shortest_edge` and `longest_edge`; or `max_height` and
    `max_width`. Empty: the image keeps its size. Pixel values are float32 `[batch, 3, height, width]`.
    """

    size: dict[str, int] = {}
    resample: int = 2  # PIL.Image.Resampling: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming
    size_multiple: int = 1  # both sides are cut down to a multiple of it
    crop: tuple[int, int] | None = None  # (height, width) around the centre, zeros where the image is smaller
    rescale_factor: float | None = None
    mean: list[float] = []  # of each channel, or one for all; empty: not normalised
    std: list[float] = []
    reverse_channels: bool = False  # BGR
    pad_size: tuple[int, int] | None = None  # (height, width), filled with zeros at the right and the bottom
    pixel_mask: bool = False  # int64 `[batch, height, width]`: 1 on the image, 0 on padding


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `bundle.json`."""

    schema_version: int = SCHEMA_VERSION
    name: str
    version: int = 1
    task: str
    architecture: str
    model_type: str
    precision: str
    path: str  # "emission", "fallback", "plain": how the graph was made
    path_reason: str = ""
    opset: int = 0
    graphs: dict[str, GraphSpec]
    cache: CacheSpec | None = None
    candidates: GraphSpec | None = None  # picks the best tokens from logits on their device; newer "slots" only
    tokenizer: TokenizerSpec | None = None
    image: ImageSpec | None = None
    labels: list[str] = []
    postprocess: dict[str, Any] = {}
    generation: dict[str, Any] = {}
    provenance: dict[str, Any] = {}
    files: dict[str, str] = {}  # file name -> sha256
    validation: dict[str, Any] = {}


def encode(manifest: Manifest) -> bytes:
    """The manifest as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
