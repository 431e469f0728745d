"""Small trained checkpoints kept in the repository, the scripts that train them, and random-weight builders."""

from pathlib import Path

HERE = Path(__file__).parent
TINY_GPT2 = HERE / "tiny-gpt2-python-docs"
TINY_MIXTRAL = HERE / "tiny-mixtral-python-docs"
TINY_QWEN2_MOE = HERE / "tiny-qwen2-moe-python-docs"
TINY_BERT = HERE / "tiny-bert-sentiment"
TINY_NER = HERE / "tiny-bert-ner"
TINY_QA = HERE / "tiny-bert-qa"
TINY_MARIAN = HERE / "tiny-marian-en-fr"
TINY_CAPTIONER = HERE / "tiny-vit-gpt2-shapes"
TINY_MLM = HERE / "tiny-bert-truths"
TINY_RESNET = HERE / "tiny-resnet-shapes"
TINY_VIT = HERE / "tiny-vit-shapes"
TINY_DETR = HERE / "tiny-detr-shapes"
LM_HELDOUT = HERE / "data" / "lm_heldout.txt"
SENTIMENT_HELDOUT = HERE / "data" / "sentiment_heldout.jsonl"
NER_HELDOUT = HERE / "data" / "ner_heldout.jsonl"
QA_HELDOUT = HERE / "data" / "qa_heldout.jsonl"
TRANSLATION_HELDOUT = HERE / "data" / "translation_heldout.jsonl"
MLM_HELDOUT = HERE / "data" / "mlm_heldout.jsonl"
