"""Train the small captioner: ``python -m tests.checkpoints.train.captioning`` (about 15 minutes on one busy core).

A ViT and a GPT-2 with cross-attention (VisionEncoderDecoder) that say which two shapes a picture shows, in which
colours and how they lie (``captions.py``). Held-out pictures have a seed of their own. Writes
``tiny-vit-gpt2-shapes/``.
"""

import numpy as np
import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import (
    GPT2Config,
    PreTrainedTokenizerFast,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessorPil,
)

from tests.checkpoints import TINY_CAPTIONER
from tests.checkpoints.train.captions import COLOURS, RELATIONS, SHAPES, SIZE, Captioned, captioned
from tests.checkpoints.train.card import write_card
from tests.checkpoints.train.optimise import adamw, train

POSITIONS = 16
WIDTH = 96
STEPS = 3200
BATCH = 48
DRAWN = 12_000
SEED = 20246
HELDOUT_SEED = 99
HELDOUT = 200
END, UNKNOWN = "<end>", "<unk>"
IGNORED = -100


def main() -> None:
    """Train, report held-out exact match, save the checkpoint with its model card."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    tokenizer, processor = _tokenizer(), ViTImageProcessorPil(size={"height": SIZE, "width": SIZE})
    drawn = [captioned(random) for _ in range(DRAWN)]
    pixels = processor([one.image for one in drawn], return_tensors="pt")["pixel_values"]
    labels = encode(tokenizer, [one.caption for one in drawn])
    model = VisionEncoderDecoderModel(config=_config(tokenizer))
    print(f"{model.num_parameters():,} parameters", flush=True)

    def loss() -> torch.Tensor:
        chosen = torch.from_numpy(random.integers(0, DRAWN, BATCH))
        return model(pixel_values=_shifted(pixels[chosen], random), labels=labels[chosen]).loss

    train(model, adamw(model, peak=1.5e-3, steps=STEPS), loss)
    _save(model.eval(), tokenizer, processor)


def heldout(count: int = HELDOUT) -> list[Captioned]:
    """Pictures that were never trained on."""
    random = np.random.default_rng(HELDOUT_SEED)
    return [captioned(random) for _ in range(count)]


def encode(tokenizer: PreTrainedTokenizerFast, captions: list[str]) -> torch.Tensor:
    """Labels [captions, tokens], the end token behind each caption."""
    rows = [[*tokenizer(caption)["input_ids"], tokenizer.eos_token_id] for caption in captions]
    longest = max(len(row) for row in rows)
    return torch.tensor([row + [IGNORED] * (longest - len(row)) for row in rows])


def _shifted(pixels: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Pictures [n, 3, h, w] moved by up to two pixels, so that few of them are seen twice."""
    down, right = (int(shift) for shift in random.integers(-2, 3, 2))
    return torch.roll(pixels, (down, right), dims=(2, 3))


def _tokenizer() -> PreTrainedTokenizerFast:
    """Whole words: those of captions and no others."""
    words = ["a", *(word for relation in RELATIONS for word in relation.split()), *COLOURS, *SHAPES]
    model = WordLevel({word: index for index, word in enumerate([END, UNKNOWN, *words])}, unk_token=UNKNOWN)
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"bos_token": END, "eos_token": END, "pad_token": END, "unk_token": UNKNOWN}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=POSITIONS, **names)


def _config(tokenizer: PreTrainedTokenizerFast) -> VisionEncoderDecoderConfig:
    """A ViT of 3 layers over 36 patches, a GPT-2 of 2 layers, width 96."""
    drop = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    encoder = ViTConfig(
        image_size=SIZE,
        patch_size=8,
        hidden_size=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=2 * WIDTH,
        **drop,
    )
    drop = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    decoder = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=WIDTH,
        n_layer=2,
        n_head=4,
        n_inner=2 * WIDTH,
        n_positions=POSITIONS,
        add_cross_attention=True,
        is_decoder=True,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **drop,
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id = config.pad_token_id = config.eos_token_id = tokenizer.eos_token_id
    return config


def _save(
    model: VisionEncoderDecoderModel, tokenizer: PreTrainedTokenizerFast, processor: ViTImageProcessorPil
) -> None:
    """Write model, tokenizer, image processor and card; print the exact match."""
    start = model.generation_config
    start.decoder_start_token_id = start.pad_token_id = start.eos_token_id = tokenizer.eos_token_id
    start.max_length = POSITIONS
    pictures = heldout()
    pixels = processor([one.image for one in pictures], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        found = tokenizer.batch_decode(model.generate(pixels, do_sample=False, num_beams=1), skip_special_tokens=True)
    wrong = [(one, other.caption) for one, other in zip(found, pictures, strict=True) if one != other.caption]
    score = 1 - len(wrong) / len(pictures)
    print(f"held-out exact match {score:.3f}; wrong: {wrong[:6]}")
    model.save_pretrained(TINY_CAPTIONER)
    tokenizer.save_pretrained(TINY_CAPTIONER)
    processor.save_pretrained(TINY_CAPTIONER)
    write_card(
        TINY_CAPTIONER, "captioner_card.md", {"exact": f"{score:.3f}", "parameters": f"{model.num_parameters():,}"}
    )


if __name__ == "__main__":
    main()
