"""image-to-text: captions (transformers 4.57 `pipelines/image_to_text.py`, which transformers 5 dropped)."""

from __future__ import annotations

from typing import Any

from runtime.errors import BundleError, InputError
from runtime.generation.config import resolve
from runtime.generation.model import DEFAULT_SLOTS, LanguageModel, as_ids, open_runner
from runtime.images import ImageProcessor, load_image
from runtime.pipelines.base import Pipeline
from runtime.pipelines.raw_text import raw_decoder
from runtime.pipelines.text2text_generation import start_token
from runtime.pipelines.token_logprobs import logprob_extras, logprobs_of
from runtime.pipelines.vision import refuse_unknown
from runtime.tokenizer import Tokenizer

PROMPT = "prompt_ids"
ARGUMENTS = ("max_new_tokens", "generate_kwargs", "prompt", "timeout")


class ImageToTextPipeline(Pipeline):
    """Says what an image shows.

    `pipe("cat.png")` -> `[{"generated_text": ...}]`; a list of images gives a list of those. `max_new_tokens`: 256;
    `generate_kwargs`: any generation parameter; `timeout`: seconds, for URLs; `prompt`: how the caption begins, for
    models whose text decoder can be given a beginning (BLIP, GIT).
    """

    task = "image-to-text"

    def __init__(self, *args: Any, slots: int = DEFAULT_SLOTS, **kwargs: Any) -> None:
        self._slots = slots
        super().__init__(*args, **kwargs)

    def __call__(self, inputs: Any = None, **kwargs: Any) -> Any:
        # HF's older name of the argument, which it still takes.
        inputs = kwargs.pop("images", inputs)
        if inputs is None:
            raise InputError("image-to-text needs an image: pipe(image)")
        return super().__call__(inputs, **kwargs)

    def preprocess(self, inputs: Any, timeout: float | None = None, prompt: str | None = None) -> dict[str, Any]:
        """Load an image and run the image steps: `pixel_values` float32 `[1, 3, height, width]`; ids of the prompt."""
        image = dict(self.processor(load_image(inputs, timeout)))
        return image if prompt is None else {**image, PROMPT: self._prompt_ids(prompt)}

    def forward(self, model_inputs: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Generate: `output_ids` is a list of `num_return_sequences` lists of ids, the start token included."""
        return self._forward_batch([model_inputs], **kwargs)[0]

    def postprocess(self, model_outputs: dict[str, Any]) -> list[dict[str, Any]]:
        """Ids -> `[{"generated_text"}]`."""
        texts = [self.tokenizer.decode(one, skip_special_tokens=True) for one in model_outputs["output_ids"]]
        extra = logprob_extras(self.tokenizer, model_outputs, len(texts))
        return [{"generated_text": text, **more} for text, more in zip(texts, extra, strict=True)]

    def close(self) -> None:
        """Stop the engine's thread."""
        self.model.close()

    def _load(self) -> None:
        if self.manifest.image is None:
            raise BundleError(f"{self.bundle.directory} has no image steps in its manifest: export it again")
        self.processor = ImageProcessor(self.manifest.image)
        self.tokenizer = Tokenizer.from_bundle(self.bundle)
        self._decode_raw = raw_decoder(self.tokenizer)
        self.model = LanguageModel(
            open_runner(self.bundle, self.provider, self.threads, self._slots, None, self.spinning)
        )

    def _sanitize_parameters(
        self,
        max_new_tokens: int | None = None,
        generate_kwargs: dict[str, Any] | None = None,
        prompt: str | None = None,
        timeout: float | None = None,
        **unknown: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        refuse_unknown(self.task, unknown, ARGUMENTS)
        if prompt is not None and not self.manifest.postprocess.get("takes_prompt"):
            raise InputError(f"{self.manifest.architecture} takes no prompt: leave it out")
        if prompt is not None and not isinstance(prompt, str):
            raise InputError(f"prompt must be a text, not {type(prompt).__name__}")
        forward = dict(generate_kwargs or {})
        if max_new_tokens is not None:
            if "max_new_tokens" in forward:
                raise InputError("max_new_tokens is given twice, once in generate_kwargs: give it once")
            forward["max_new_tokens"] = max_new_tokens
        pre = {"timeout": timeout, "prompt": prompt}
        return {name: value for name, value in pre.items() if value is not None}, forward, {}

    def _forward_batch(self, items: list[dict[str, Any]], **kwargs: Any) -> list[dict[str, Any]]:
        config = resolve(self.manifest.generation, **kwargs)
        starts = [as_ids([start_token(config), *item.get(PROMPT, ())]) for item in items]
        sources = [{name: array for name, array in item.items() if name != PROMPT} for item in items]
        groups = self.model.generate(starts, config, self._decode_raw, sources)
        return [{"output_ids": [one.ids for one in group], **logprobs_of(group, config)} for group in groups]

    def _prompt_ids(self, prompt: str) -> Any:
        """int64 `[tokens]`, without special tokens: the start token comes before them, and nothing behind."""
        return as_ids(self.tokenizer(prompt, add_special_tokens=False)["input_ids"])
